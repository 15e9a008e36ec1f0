"""Scheduling priorities, where one machine's cores are shared by what would be several machines."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_SERVERS, _MONITORS = 1, 2


@contextlib.contextmanager
def servers_first() -> Iterator[None]:
    """Processes started meanwhile, and their children, run before all others.

    For whatever runs on the servers of either side. Clients that connect, and what measures,
    would run on other machines.
    """
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_SERVERS))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def monitors_first() -> None:
    """Let this thread run before the servers."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_MONITORS))
