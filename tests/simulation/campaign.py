"""Many seeds, over several processes."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.pool import Pool

import attrs

from tests.simulation.run import Result, simulate

SHOWN_EVERY = 30.0
"""Seconds between two lines on how far it has come."""


@attrs.define
class Summary:
    """What many runs came to."""

    seeds: int = 0
    seconds: float = 0.0
    happened: Counter[str] = attrs.field(factory=Counter)
    failures: dict[int, str] = attrs.field(factory=dict)

    def add(self, result: Result) -> None:
        """Another one."""
        self.seeds += 1
        self.seconds += result.seconds
        self.happened += result.happened
        if result.failure:
            self.failures[result.seed] = result.failure

    def lines(self) -> Iterator[str]:
        """For people."""
        hours = self.seconds / 3600
        yield f"seeds {self.seeds}, simulated hours {hours:.1f}, failures {len(self.failures)}"
        for what, count in sorted(self.happened.items()):
            yield f"  {count:9,d}  {what.replace('_', ' ')}"
        for seed, why in sorted(self.failures.items()):
            yield f"  seed {seed} FAILED {why}"
            yield f"       make simulate SEED={seed}"


def quiet(seed: int, theme: str = "") -> Result:
    """One seed; only its result is told."""
    logging.disable()
    return simulate(seed, theme=theme)


@contextlib.contextmanager
def processes(jobs: int, prepare: Callable[[], None] | None = None) -> Iterator[Pool]:
    """Some that are gone afterwards, also when interrupted; *prepare* is called in each."""
    pool = multiprocessing.get_context("fork").Pool(jobs, prepare)
    try:
        yield pool
    finally:
        pool.terminate()
        pool.join()


def run(first: int, count: int, jobs: int) -> int:
    """Run *count* seeds from *first* on; print what came of it. The exit status."""
    summary, began = Summary(), time.monotonic()
    shown = began
    with processes(jobs) as pool:
        for result in pool.imap_unordered(quiet, range(first, first + count), chunksize=2):
            summary.add(result)
            if result.failure:
                print(f"seed {result.seed} FAILED {result.failure}", flush=True)
            if time.monotonic() > shown + SHOWN_EVERY:
                shown = time.monotonic()
                print(f"... {summary.seeds} of {count} seeds", flush=True)
    print("\n".join(summary.lines()))
    print(f"took {time.monotonic() - began:.0f} s with {jobs} processes")
    return bool(summary.failures)
