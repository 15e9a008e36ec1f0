"""Which programs run in our network namespace, from /proc."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def is_running(name: str, proc: Path = PROC) -> bool:
    """Whether a process of this name (at most 15 bytes) runs in our network namespace.

    As far as we may see that.
    """
    ours = _network_of(proc / "self")
    for process in proc.iterdir():
        try:
            command = (
                (process / "comm").read_text(errors="replace") if process.name.isdigit() else ""
            )
        except OSError:  # it has just ended
            continue
        if command.strip() == name and _network_of(process) in (ours, None):
            return True
    return False


def _network_of(process: Path) -> str | None:
    try:
        return str((process / "ns/net").readlink())
    except OSError:
        return None
