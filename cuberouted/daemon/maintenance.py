"""Maintenance of this node: drain, resume, and what is kept over a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuberouted.maintenance.record import MaintenanceRecord
from cuberouted.model import NodeState

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon


class Maintenance:
    """Whether this node takes clients. ``record``: since when it is what it is, and why."""

    def __init__(self, daemon: Daemon) -> None:
        self.record = MaintenanceRecord()
        self._daemon = daemon

    @property
    def is_active(self) -> bool:
        """Whether clients and services may come here."""
        return self.record.state is NodeState.ACTIVE
