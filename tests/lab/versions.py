"""The lab tests that depend on OpenVPN, with other versions of it: ``make versions``.

    python -m tests.lab.versions /opt/openvpn-2.4/sbin/openvpn /opt/openvpn-2.7/sbin/openvpn

Each program is server, client and tunnel between servers. Every path is tried before any test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.lab.host import PROJECT

FILES = (
    "test_article",
    "test_disconnect",
    "test_ipv6",
    "test_management",
    "test_many_openvpn",
    "test_networks",
    "test_omissions",
    "test_openvpn_restart",
    "test_other_managers",
    "test_refused_client",
    "test_renewed_session",
    "test_roaming",
)
"""What OpenVPN says, and does when it is told to; not what peers and the kernel do with it."""

_TITLE = re.compile(r"OpenVPN (\d+\.\d+\S*) ")


class Program(NamedTuple):
    """An OpenVPN: where it is, and its version."""

    path: Path
    version: str


class NoOpenVPNError(Exception):
    """The path is that of no OpenVPN which runs here; str() says why."""


def find(argument: str) -> Program:
    """The OpenVPN at this path.

    Raises:
      NoOpenVPNError: there is none.
    """
    path = Path(argument).resolve()
    try:
        shown = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except OSError as exc:
        raise NoOpenVPNError(f"{argument}: cannot be run: {exc.strerror}") from exc
    except subprocess.TimeoutExpired as exc:
        raise NoOpenVPNError(f"{argument}: no OpenVPN; --version does not end") from exc
    title = _TITLE.match(shown.stdout)
    if title is None:
        said = (shown.stdout + shown.stderr).strip().partition("\n")[0][:100]
        raise NoOpenVPNError(f"{argument}: no OpenVPN; its answer to --version: {said!r}")
    return Program(path, title[1])


def run(program: Program, options: Sequence[str] = ()) -> bool:
    """Run the tests with *program*, with more options of pytest: whether all passed."""
    print(f"== OpenVPN {program.version}: {program.path}", flush=True)
    files = [str(PROJECT / f"tests/lab/{name}.py") for name in FILES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files, *options],
        cwd=PROJECT,
        env={**os.environ, "OPENVPN": str(program.path)},
        check=False,
    )
    return done.returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Run the tests with the program at each path; what begins with ``-`` is for pytest."""
    paths = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument for argument in arguments if argument.startswith("-")]
    if not paths:
        print("Name at least one OpenVPN: make versions OPENVPN=/opt/openvpn-2.7/sbin/openvpn")
        return 2
    try:
        programs = [find(path) for path in paths]
    except NoOpenVPNError as exc:
        print(exc)
        return 2
    results = []
    for program in programs:
        began = time.monotonic()
        passed = run(program, options)
        took = time.monotonic() - began
        results.append((program, passed, took))
    for program, passed, took in results:
        verdict = "passed" if passed else "FAILED"
        print(f"{verdict}  OpenVPN {program.version:<12} {took:4.0f} s  {program.path}")
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
