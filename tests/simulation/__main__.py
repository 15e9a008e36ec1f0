"""Runs the simulation: `python -m tests.simulation --help`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from tests.simulation import campaign, mutants
from tests.simulation.run import simulate


def main(arguments: Sequence[str]) -> int:
    """Returns 1 if an invariant was violated or a mutation was not found, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one alone, with its trace")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument(
        "--mutants", action="store_true", help="show that deliberate mistakes are found"
    )
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return trace_seed(chosen.seed)
    if chosen.mutants:
        return mutants.table(chosen.seeds, chosen.jobs)
    return campaign.run(chosen.first, chosen.seeds, chosen.jobs)


def trace_seed(seed: int) -> int:
    """Run one seed and print its trace. Returns the exit status."""
    logging.basicConfig(stream=sys.stdout, format="           log: %(message)s", level=logging.INFO)
    result = simulate(seed, print)
    print(f"seed {seed}: {result.failure or 'passed'}; fingerprint {result.fingerprint}")
    return bool(result.failure)


def fix_hash_seed() -> None:
    """Start again with a fixed hash seed, if the order of sets is random."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])


if __name__ == "__main__":
    fix_hash_seed()
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
