"""Debian's kernels keep every promise that cuberouted relies on: the lab's tests, run there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.host import PROJECT
from tests.machine.server import Server

PLUGIN = '''
"""Runs tests that are coroutines: Debian 12 has no pytest-trio."""

import functools
import inspect

import trio


def pytest_pyfunc_call(pyfuncitem):
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    trio.run(functools.partial(function, **arguments))
    return True
'''
DIRECTORY = "/root/kernel-tests"
TIMEOUT = 90.0
"""Seconds, ten times as long in software emulation, where they take 200."""

RUN = f"""
cd {DIRECTORY}
ln -s /usr/lib/cuberouted/* .
export PYTHONPATH={DIRECTORY} PYTHONDONTWRITEBYTECODE=1
exec python3 -m pytest -q -p trio_functions -p no:cacheprovider --noconftest -c /dev/null \\
    --rootdir {DIRECTORY} tests/lab/test_kernel.py
"""


def test_the_lab_s_tests_of_the_kernel_pass(server: Server, tmp_path: Path) -> None:
    archive = tmp_path / "tests.tar"
    parts = ("tests/__init__.py", "tests/fakes", "tests/lab")
    subprocess.run(
        ["tar", "-C", str(PROJECT), "--exclude=__pycache__", "-cf", str(archive), *parts],
        check=True,
    )
    machine = server.machine
    machine.copy_in(archive, "/root/tests.tar")
    machine.run("mkdir", "-p", DIRECTORY)
    machine.run("tar", "-C", DIRECTORY, "-xf", "/root/tests.tar")
    machine.write(f"{DIRECTORY}/trio_functions.py", PLUGIN)
    done = machine.try_run("sh", "-c", RUN, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
    machine.run("rm", "-r", DIRECTORY, "/root/tests.tar")
