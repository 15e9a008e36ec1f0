"""Whether this node is heard by any other, for ``witness = yes``. Pure.

A holder without a witness gives the address up before the others, which do not hear it, take it.
"""

from __future__ import annotations

import math

import attrs

from cuberouted.config.schema import Placement, ServiceConfig
from cuberouted.services import election
from cuberouted.services.election import SETTLE_TIME
from cuberouted.services.types import View


@attrs.define
class Witness:
    """The peers as witnesses. All times are monotonic seconds.

    ``until``: when the address has to be given up if no peer is heard before, ``inf`` without
    ``witness``. ``settled``: when a node that only our witness has heard meanwhile has noticed that
    it has none.
    """

    started: float
    until: float = attrs.field(default=math.inf, init=False)
    settled: float = attrs.field(default=math.inf, init=False)
    _since: float = attrs.field(default=math.inf, init=False)

    def update(self, config: ServiceConfig, view: View, now: float, *, is_adopted: bool) -> None:
        """Look at the peers. *is_adopted*: one was heard before the restart, and has to answer."""
        self.until = math.inf
        if config.witness and config.placement is not Placement.NEAREST:
            heard = election.last_heard(view)
            self.until = max(heard, self.started if is_adopted else heard) + view.witness_time
        self._since = min(self._since, now) if now < self.until else math.inf
        self.settled = self._since + view.witness_time + SETTLE_TIME
