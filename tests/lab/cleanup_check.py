"""What a lab in another process has made, and what is left of it."""

from __future__ import annotations

from pathlib import Path


def namespaces_under(pid: int) -> set[int]:
    """The network namespaces, by inode, of the programs that process *pid* has started."""
    own = _namespace(Path(f"/proc/{pid}"))
    found = {_namespace(process) for process in _processes() if _parent(process) == pid}
    return {namespace for namespace in found if namespace and namespace != own}


def processes_in(namespaces: set[int]) -> list[Path]:
    """The processes in these namespaces. A namespace is gone when no process is left in it."""
    return [process for process in _processes() if _namespace(process) in namespaces]


def _processes() -> list[Path]:
    return list(Path("/proc").glob("[0-9]*"))


def _namespace(process: Path) -> int | None:
    try:
        return (process / "ns/net").stat().st_ino
    except OSError:  # it has just ended
        return None


def _parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
