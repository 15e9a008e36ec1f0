"""Runs benchmarks: `python -m tests.bench [--small] [--write] [NAME...]`.

As root, except for those that run on fakes (loop_hold, scrape).

Prints their tables; with --write they go into docs/performance.md, too. --small uses sizes
that only show whether the benchmarks work.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from tests.bench.figures import Table, machine, write
from tests.lab.lab import missing

NAMES = (
    "one_client",
    "roaming",
    "many_clients",
    "churn",
    "idle",
    "many_servers",
    "events",
    "loop_hold",
    "scrape",
)
ON_FAKES = {"loop_hold", "scrape"}


def main() -> int:
    """Run them. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    names = options.names or NAMES
    if not ON_FAKES.issuperset(names) and (lacking := missing()):
        print(f"The benchmarks need {'; '.join(lacking)}", file=sys.stderr)
        return 1
    for name in names:
        about = machine()
        tables = run(name, small=options.small)
        print(f"\n== {name}: {about}\n")
        print("\n\n".join(table.text() for table in tables), flush=True)
        if options.write:
            write(name, tables, about)
    return 0


def run(name: str, *, small: bool) -> list[Table]:
    """The tables of one benchmark."""
    benchmark = importlib.import_module(f"tests.bench.{name}")
    tables: list[Table] = benchmark.measure(benchmark.SMALL if small else benchmark.FULL)
    return tables


if __name__ == "__main__":
    sys.exit(main())
