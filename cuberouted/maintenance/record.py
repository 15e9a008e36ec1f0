"""The state of maintenance, as it is kept over a restart. Pure."""

from __future__ import annotations

import msgspec

from cuberouted.model import NodeState


class MaintenanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Since when, by whom, why, and until when this node is what it is: see `NodeInfo`."""

    state: NodeState = NodeState.ACTIVE
    by: str = ""
    since: int = 0
    until: int = 0
    reason: str = ""
