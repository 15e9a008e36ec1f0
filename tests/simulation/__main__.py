"""Runs seeds, and says what came of it: `python -m tests.simulation --help`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from tests.simulation import campaign, mutants
from tests.simulation.run import simulate


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 where a promise was broken, or a mutant survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one alone, and tell everything")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--mutants", action="store_true", help="prove that mistakes are found")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return tell(chosen.seed)
    if chosen.mutants:
        return mutants.table(chosen.seeds, chosen.jobs)
    return campaign.run(chosen.first, chosen.seeds, chosen.jobs)


def tell(seed: int) -> int:
    """One seed, with all that happens."""
    logging.basicConfig(stream=sys.stdout, format="           log: %(message)s", level=logging.INFO)
    result = simulate(seed, print)
    print(f"seed {seed}: {result.failure or 'well'}; fingerprint {result.fingerprint}")
    return bool(result.failure)


def fixed() -> None:
    """Start again where the order of sets is not the same in every process."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])


if __name__ == "__main__":
    fixed()
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
