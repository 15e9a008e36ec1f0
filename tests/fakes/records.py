"""Where a daemon keeps its state of maintenance, in memory."""

from __future__ import annotations

from pathlib import Path

import trio

from cuberouted.maintenance.record import MaintenanceRecord, RecordError, decode, encode
from cuberouted.model import NodeState


class FakeRecords:
    """``text``: what is kept, None: nothing. ``error``: why it cannot be written, or empty.
    ``unreadable``: why it cannot be read.
    """

    def __init__(self) -> None:
        self.text: bytes | None = None
        self.error = ""
        self.unreadable = ""

    def read(self, directory: Path) -> MaintenanceRecord:
        """See `RecordStore`."""
        if self.unreadable:
            raise RecordError(f"{directory}: {self.unreadable}")
        return MaintenanceRecord() if self.text is None else decode(self.text)

    async def write(self, directory: Path, record: MaintenanceRecord) -> None:
        """See `RecordStore`."""
        await trio.lowlevel.checkpoint()
        if self.error:
            raise RecordError(f"{directory}: {self.error}")
        self.text = None if record.state is NodeState.ACTIVE else encode(record)
