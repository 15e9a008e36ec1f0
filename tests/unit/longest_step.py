"""How long a task keeps the event loop: for tests of what is done in slices."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class LongestStep(trio.abc.Instrument):
    """``seconds``: of the longest step so far, of processor time: the machine may be busy."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = time.thread_time()

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        self._began = time.thread_time()

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        self.seconds = max(self.seconds, time.thread_time() - self._began)


@contextmanager
def longest_step() -> Iterator[LongestStep]:
    """Measure what is done in the context, without garbage collections.

    These would search the objects of all tests; the daemon's are measured by the simulation.
    """
    meter = LongestStep()
    gc.disable()
    trio.lowlevel.add_instrument(meter)
    try:
        yield meter
    finally:
        trio.lowlevel.remove_instrument(meter)
        gc.enable()
