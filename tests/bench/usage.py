"""What a process uses: processor time and memory."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import attrs

_TICK: int = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Usage:
    """A look at a process: its processor time so far, and when that was. Seconds."""

    cpu: float
    at: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Now. The scheduler's own count, in nanoseconds; ticks would be too coarse."""
        spent = sum(
            int(task.joinpath("schedstat").read_text().split()[0])
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
        return cls(spent / 1e9, time.monotonic())

    def share_until(self, later: Usage) -> float:
        """How much of one core it used since."""
        return (later.cpu - self.cpu) / (later.at - self.at)


def resident(pid: int) -> float:
    """Resident memory, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def private(pid: int) -> float:
    """What of it no other process shares, in MiB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"Private_\w+:\s+(\d+) kB", rollup)) / 1024
