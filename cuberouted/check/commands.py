"""Runs other programs for their output."""

from __future__ import annotations

import os
import shutil
import subprocess

TIMEOUT = 10.0
"""Seconds. These programs take milliseconds."""


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
