"""Proves that the simulation finds mistakes: the table of `mutations`, and who found them."""

from __future__ import annotations

import functools

from tests.simulation.campaign import processes, quiet
from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import Result


def table(count: int, jobs: int) -> int:
    """Try every mutation on at most *count* seeds. The exit status: whether one survived."""
    survivors = 0
    width = max(map(len, MUTATIONS))
    print(f"{'mutation':{width}}  seeds  found at seed, as")
    for name in MUTATIONS:
        tried, found = hunt(name, count, jobs)
        survivors += found is None
        how = f"{found.seed}: {found.failure[:70]}" if found else "SURVIVED"
        print(f"{name:{width}}  {tried:5}  {how}", flush=True)
    print(f"mutations {len(MUTATIONS)}, found {len(MUTATIONS) - survivors}")
    return bool(survivors)


def hunt(name: str, count: int, jobs: int) -> tuple[int, Result | None]:
    """How many of *count* seeds it took until one failed that is well without, and that one."""
    spoil, theme = MUTATIONS[name]
    run = functools.partial(quiet, theme=theme)
    with processes(jobs, spoil) as pool:
        for tried, result in enumerate(pool.imap(run, range(count)), 1):
            if result.failure and not run(result.seed).failure:
                return tried, result
    return count, None
