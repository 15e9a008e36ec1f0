"""Other programs on this host: what they print, and whether they run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

TIMEOUT = 10.0
"""Seconds. These programs take milliseconds."""

PROC = Path("/proc")


def run(program: str, *arguments: str) -> str | None:
    """What *program* wrote, or None if it is not installed, failed, or took too long."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments, and names that nft printed
            [found, *arguments],
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.decode(errors="backslashreplace")


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
