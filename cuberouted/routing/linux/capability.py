"""What this process would need to change routes."""

from __future__ import annotations

from pathlib import Path

_CAP_NET_ADMIN = 12  # linux/capability.h


def missing_capability(status: Path = Path("/proc/self/status")) -> str | None:
    """The capability that is missing to change routes, or None if nothing is.

    *status* is the process's file in /proc; one without the line tells of nothing missing.
    """
    for line in status.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == "CapEff" and not int(value, 16) >> _CAP_NET_ADMIN & 1:
            return "CAP_NET_ADMIN"
    return None
