"""Who goes first, where one machine's cores stand for several machines."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_SERVERS, _EARS = 1, 2


@contextlib.contextmanager
def servers_first() -> Iterator[None]:
    """What is started meanwhile, and what that starts, waits for none of the others' work.

    For all that runs on the servers of either side. What a client does while it connects,
    and what measures, would be on other machines.
    """
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_SERVERS))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def hear_at_once() -> None:
    """This thread goes before all of them."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_EARS))
