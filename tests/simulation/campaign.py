"""Runs many seeds in several processes."""

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

PROGRESS_INTERVAL = 30.0
"""Seconds between two lines of progress."""


@attrs.define
class Summary:
    """Results of many runs."""

    seeds: int = 0
    seconds: float = 0.0
    counts: Counter[str] = attrs.field(factory=Counter)
    failures: dict[int, str] = attrs.field(factory=dict)

    def add(self, result: Result) -> None:
        """Add one result."""
        self.seeds += 1
        self.seconds += result.seconds
        self.counts += result.counts
        if result.failure:
            self.failures[result.seed] = result.failure

    def lines(self) -> Iterator[str]:
        """The summary as text."""
        hours = self.seconds / 3600
        yield f"seeds {self.seeds}, simulated hours {hours:.1f}, failures {len(self.failures)}"
        for what, count in sorted(self.counts.items()):
            yield f"  {count:9,d}  {what.replace('_', ' ')}"
        for seed, why in sorted(self.failures.items()):
            yield f"  seed {seed} FAILED {why}"
            yield f"       make simulate SEED={seed}"


def run_quietly(seed: int, theme: str = "") -> Result:
    """Run one seed without output."""
    logging.disable()
    return simulate(seed, theme=theme)


@contextlib.contextmanager
def processes(jobs: int, prepare: Callable[[], None] | None = None) -> Iterator[Pool]:
    """A pool, terminated at the end or when interrupted; *prepare* is called in each process."""
    pool = multiprocessing.get_context("fork").Pool(jobs, prepare)
    try:
        yield pool
    finally:
        pool.terminate()
        pool.join()


def run(first: int, count: int, jobs: int) -> int:
    """Run *count* seeds from *first* on, and print a summary. Returns the exit status."""
    summary, began = Summary(), time.monotonic()
    shown = began
    with processes(jobs) as pool:
        for result in pool.imap_unordered(run_quietly, range(first, first + count), chunksize=2):
            summary.add(result)
            if result.failure:
                print(f"seed {result.seed} FAILED {result.failure}", flush=True)
            if time.monotonic() > shown + PROGRESS_INTERVAL:
                shown = time.monotonic()
                print(f"... {summary.seeds} of {count} seeds", flush=True)
    print("\n".join(summary.lines()))
    print(f"took {time.monotonic() - began:.0f} s with {jobs} processes")
    return bool(summary.failures)
