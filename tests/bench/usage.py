"""What a process uses: processor time and memory."""

from __future__ import annotations

import re
import time
from pathlib import Path

import attrs


@attrs.frozen
class Usage:
    """Processor time of a process so far, and when it was read. Seconds."""

    cpu: float
    at: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Read it now, from schedstat, in nanoseconds; clock ticks would be too coarse."""
        used = sum(
            int(task.joinpath("schedstat").read_text().split()[0])
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
        return cls(used / 1e9, time.monotonic())

    def share_until(self, later: Usage) -> float:
        """How much of one core it used until *later*."""
        return (later.cpu - self.cpu) / (later.at - self.at)


def resident(pid: int) -> float:
    """Resident memory, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def private(pid: int) -> float:
    """Memory that it shares with no other process, in MiB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"Private_\w+:\s+(\d+) kB", rollup)) / 1024
