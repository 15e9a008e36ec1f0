"""Runs the unit tests and the simulation with other versions of Python and of its packages.

    python -m tests.matrix [NAME ...]

Each environment is a virtual one of its own, build/matrix/NAME, and keeps the output of its tests
in build/matrix/NAME.log. Interpreters are those in PATH and pyenv's; the environment variables
PYTHON311 and PYTHON313 name others.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build" / "matrix"
TESTS = ("tests/unit", "tests/simulation")
SHOWN = 60
"""Lines that are shown of the output of tests that failed."""


@attrs.frozen
class Environment:
    """One version of Python, as in "3.13", and a file of packages with their hashes."""

    name: str
    python: str
    packages: Path


ENVIRONMENTS = (
    Environment("debian12", "3.11", Path("tests/matrix/debian12.txt")),
    Environment("debian13", "3.13", Path("tests/matrix/debian13.txt")),
    Environment("newest", "3.13", Path("requirements-dev.lock")),
)


class MatrixError(Exception):
    """An environment cannot be made, or its tests failed. str() says why."""


def find_python(version: str) -> Path:
    """An interpreter of *version*.

    Raises:
      MatrixError: there is none.
    """
    variable = f"PYTHON{version.replace('.', '')}"
    named = os.environ.get(variable)
    for program in [Path(named)] if named else _candidates(version):
        if _version_of(program) == version:
            return program
    if named:
        raise MatrixError(f"{variable}={named} is not a Python {version}")
    raise MatrixError(f"Python {version} is missing: install it, or name it by {variable}=...")


def _candidates(version: str) -> Iterator[Path]:
    found = (shutil.which(name) for name in (f"python{version}", "python3"))
    yield from (Path(path) for path in found if path)
    # what pyenv has in PATH is a script that starts only the versions that are switched on
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def _version_of(program: Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def prepare(environment: Environment) -> Path:
    """The interpreter of *environment*, which is made anew if its packages have changed.

    Raises:
      MatrixError: it could not be made.
    """
    python, packages = find_python(environment.python), PROJECT / environment.packages
    directory = BUILD / environment.name
    wanted = hashlib.sha256(packages.read_bytes() + os.fsencode(python)).hexdigest()
    made = directory / "made-from"
    if not made.exists() or made.read_text() != wanted:
        install = (directory / "bin/python", "-m", "pip", "install", "-qq", "--require-hashes")
        for command in (
            (python, "-m", "venv", "--clear", directory),
            (*install, "--disable-pip-version-check", "--requirement", packages),
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise MatrixError(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
        made.write_text(wanted)
    return directory / "bin/python"


def run_tests(name: str, python: Path) -> str:
    """Run the tests and return their last line.

    Raises:
      MatrixError: some failed.
    """
    log = BUILD / f"{name}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *TESTS],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            check=False,
        )
    lines = log.read_text(errors="replace").splitlines()
    if done.returncode:
        raise MatrixError("\n".join([*lines[-SHOWN:], f"All output: {log}"]))
    return lines[-1]


def main(names: list[str]) -> int:
    """Run the environments with these names, or all of them. Return the exit status."""
    known = {environment.name: environment for environment in ENVIRONMENTS}
    unknown = sorted(set(names) - known.keys())
    if unknown:
        print(f"{unknown[0]}: unknown; known are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or known:
        began = time.monotonic()
        try:
            result = run_tests(name, prepare(known[name]))
        except MatrixError as error:
            print(f"{name}: failed\n{error}", file=sys.stderr, flush=True)
            failed.append(name)
        else:
            took = time.monotonic() - began
            print(f"{name} (Python {known[name].python}): {result}, {took:.0f} s", flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
