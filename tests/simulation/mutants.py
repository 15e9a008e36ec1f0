"""Proves that the simulation finds mistakes: prints which seed finds each of `mutations`."""

from __future__ import annotations

import functools
import multiprocessing

from tests.simulation.campaign import processes, run_quietly
from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import Result


def table(count: int, jobs: int) -> int:
    """Try every mutation on at most *count* seeds. Returns 1 if one was not found."""
    missed = 0
    width = max(map(len, MUTATIONS))
    print(f"{'mutation':{width}}  seeds  found at seed: violation")
    for name in MUTATIONS:
        tried, found = find_seed(name, count, jobs)
        missed += found is None
        how = f"{found.seed}: {found.failure[:70]}" if found else "NOT FOUND"
        print(f"{name:{width}}  {tried:5}  {how}", flush=True)
    print(f"mutations {len(MUTATIONS)}, found {len(MUTATIONS) - missed}")
    return bool(missed)


def find_seed(name: str, count: int, jobs: int) -> tuple[int, Result | None]:
    """How many of *count* seeds were tried until one failed that passes without it; its result."""
    apply, theme = MUTATIONS[name]
    check_applies(name)  # a pool would restart its processes without end
    run = functools.partial(run_quietly, theme=theme)
    with processes(jobs, apply) as pool:
        for tried, result in enumerate(pool.imap(run, range(count)), 1):
            if result.failure and not run(result.seed).failure:
                return tried, result
    return count, None


def check_applies(name: str) -> None:
    """Apply a mutation in a process of its own.

    Raises:
      RuntimeError: what it replaces does not exist (any more); the traceback is printed.
    """
    process = multiprocessing.get_context("fork").Process(target=MUTATIONS[name].apply)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the mutation {name!r} cannot be applied")
