"""Whether the check of a service on this node counts as a success. Pure.

A result counts once it has come several times in a row (``rise``, ``fall``), so that one check that
is slow does not move the address. The first result of all counts at once.
"""

from __future__ import annotations

import math

import attrs

from cuberouted.config.schema import ServiceConfig


@attrs.define
class Health:
    """The results of a service's check, and when the next one is due.

    ``healthy``: None before the first result. ``why``: of the last failure. ``due``: monotonic
    seconds, ``inf`` without a check. ``last_checked``: when the last check ended, or None.
    """

    due: float
    healthy: bool | None = None
    why: str = ""
    last_checked: float | None = None
    _row: int = 0
    """The number of results in a row that differ from ``healthy``."""

    @classmethod
    def of(cls, config: ServiceConfig, now: float) -> Health:
        """Before the first check. Without a check, it is healthy."""
        return cls(now) if config.check else cls(math.inf, healthy=True)

    @property
    def problem(self) -> str:
        """Why it is not healthy, or empty."""
        if self.healthy:
            return ""
        return "not checked yet" if self.healthy is None else f"check: {self.why}"

    def adopt(self) -> None:
        """Take it as healthy until the check has failed often enough: it was, before a restart."""
        if self.healthy is None:
            self.healthy = True

    def ended(self, config: ServiceConfig, ok: bool, why: str, now: float) -> bool:
        """A check has ended. Whether that changes ``healthy``."""
        self.last_checked = now
        self.due = max(self.due + config.check_interval, now)
        if not ok:
            self.why = why
        if ok == self.healthy:
            self._row = 0
            return False
        self._row += 1
        if self.healthy is not None and self._row < (config.rise if ok else config.fall):
            return False
        self.healthy, self._row = ok, 0
        return True
