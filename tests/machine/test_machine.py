"""What the tests rely on: a machine boots, keeps its files, and forgets the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.host import PROJECT
from tests.lab.waiting import wait_for
from tests.machine.conftest import NewMachine
from tests.machine.machine import Machine
from tests.machine.nspawn import Nspawn
from tests.machine.root import SUITES


def test_machines_reach_each_other_and_keep_their_files(new_machine: NewMachine) -> None:
    one, other = (new_machine(suite, suite) for suite in SUITES)
    one.boot()
    other.boot()
    for machine, peer in ((one, other), (other, one)):
        assert machine.run("hostname").strip() == machine.name
        assert f"VERSION_CODENAME={machine.suite}" in machine.read("/etc/os-release")
        wait_reaches(machine, peer)


@pytest.mark.parametrize("suite", SUITES)
def test_a_boot_keeps_files_and_nothing_else(new_machine: NewMachine, suite: str) -> None:
    one, other = new_machine("one", suite), new_machine("other", suite)
    one.boot()
    other.boot()

    def off_and_on() -> None:
        one.power_off()
        one.boot()

    def power_loss() -> None:
        one.kill()
        one.boot()

    for end in (one.reboot, power_loss, off_and_on):
        one.write("/etc/kept", end.__name__)
        one.run("touch", "/run/forgotten")
        one.run("ip", "route", "add", "10.9.9.0/24", "via", other.address)
        one.run("nft", "add table inet forgotten")
        end()
        assert one.read("/etc/kept") == end.__name__
        assert one.try_run("test", "-e", "/run/forgotten").returncode
        assert "10.9.9.0" not in one.run("ip", "route")
        assert "forgotten" not in one.run("nft", "list", "ruleset")
        wait_reaches(one, other)


BOOT = """
import os, sys
from tests.lab.network import Network
from tests.machine.nspawn import Nspawn
network = Network()
network.wait_ready()
machine = Nspawn("left", "bookworm", network, 1)
machine.boot()
print(machine.pid, flush=True)
sys.stdin.read()
"""


def test_a_machine_ends_with_the_process_that_has_it(driver: type[Machine]) -> None:
    if driver is not Nspawn:
        pytest.skip("only nspawn leaves traces in this host's kernel")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    argv = [sys.executable, "-c", BOOT]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe) as process:
        assert process.stdout
        init = Path("/proc", process.stdout.readline().decode().strip())
        assert init.exists()
        process.kill()
        name = f"cuberouted-{process.pid}-left"
    wait_for("the machine to end", lambda: not init.exists())
    groups = Path("/sys/fs/cgroup")
    wait_for("its cgroups to go", lambda: not [*groups.glob(f"{name}*"), *groups.glob(f"*/{name}")])


def wait_reaches(machine: Machine, other: Machine) -> None:
    ping = ("ping", "-n", "-c", "1", "-W", "1", other.address)
    machine.wait_for(f"reaching {other.name}", lambda: machine.run(*ping))
