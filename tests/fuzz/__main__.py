"""Fuzz with atheris: python -m tests.fuzz [--seconds N] [TARGET...]; `make fuzz` for people.

Each target runs in a process of its own. An input that fails is written to a file named crash-,
timeout- or oom-; once it is fixed, that file is added to the target's corpus. The target `api` is
another thing: schemathesis sends requests to a running API (`tests.fuzz.api`).

cuberouted is imported late, because atheris instruments modules when they are imported.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time

MAX_TIME = 5
"""Seconds for one input; valid ones take at most a hundredth of that."""
API = "api"
"""The target that schemathesis runs."""
MAX_MEMORY = 1024
"""MB for one process."""


def fuzz(name: str, arguments: list[str]) -> None:
    """Run one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["cuberouted"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


def run(name: str, seconds: int) -> bool:
    """Run one target in a process. Returns whether it found nothing."""
    from tests.fuzz.targets import CORPUS, MAX_INPUT

    print(f"== {name}: {seconds} s", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as found:
        options = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", f"-timeout={MAX_TIME}"]
        options += [f"-rss_limit_mb={MAX_MEMORY}", "-verbosity=0"]
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, *options]
        done = subprocess.run([*command, found, str(CORPUS / name)], check=False)
    print(f"== {name}: status {done.returncode} after {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


def run_api(seconds: int) -> bool:
    """Fuzz the API over HTTP. Returns whether it found nothing."""
    from tests.fuzz import api

    print(f"== {API}: {seconds} s", flush=True)
    return api.run(seconds)


def main() -> int:
    """Returns the exit status: 0 if nothing was found."""
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, API, []], default=[])
    options = parser.parse_args()
    results = [
        run_api(options.seconds) if name == API else run(name, options.seconds)
        for name in options.targets or [*TARGETS, API]
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
