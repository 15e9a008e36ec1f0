"""Fuzz with atheris: python -m tests.fuzz [--seconds N] [TARGET...]; `make fuzz` for people.

Each target runs in a process of its own. What was found is left in a file named crash-,
timeout- or oom-; after it is mended that file goes into the target's corpus.

cuberouted is imported late, because atheris watches only what it sees imported.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time

SLOWEST = 5
"""Seconds for one input; the slowest that is right takes a hundredth."""
MEMORY = 1024
"""MB for one process."""


def fuzz(name: str, arguments: list[str]) -> None:
    """Run one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["cuberouted"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


def run(name: str, seconds: int) -> bool:
    """Run one target in a process: whether all was well."""
    from tests.fuzz.targets import CORPUS, LONGEST

    print(f"== {name}: {seconds} s", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as found:
        options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}"]
        options += [f"-rss_limit_mb={MEMORY}", "-verbosity=0"]
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, *options]
        done = subprocess.run([*command, found, str(CORPUS / name)], check=False)
    print(f"== {name}: status {done.returncode} after {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


def main() -> int:
    """Returns the exit status: 0 if nothing was found."""
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    asked = parser.parse_args()
    results = [run(name, asked.seconds) for name in asked.targets or TARGETS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
