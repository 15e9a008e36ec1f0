"""A wheel in a virtual environment, `cuberouted setup`, and systemd: what docs/install.md says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cuberouted import __version__
from tests.lab.host import PROJECT
from tests.machine.conftest import NewMachine
from tests.machine.machine import Machine

SUITE = "trixie"
"""Debian 12 has no msgspec, and a machine no way to a package index."""

VENV = "/opt/cuberouted"
UNIT = "/usr/local/lib/systemd/system/cuberouted.service"
CONFIGURATION = """\
mgmt_interface = tun1
data_interface = tun0
remote_mgmt_ip = 10.200.200.5
remote_data_ip = 10.100.100.101
openvpn_mgmt_port = 5656
cube_routed_port = 5657
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True, timeout=60)
    return directory / f"cuberouted-{__version__}-py3-none-any.whl"


@pytest.fixture
def machine(new_machine: NewMachine, wheel: Path) -> Machine:
    """A machine with the wheel, installed in a virtual environment with Debian's packages."""
    machine = new_machine("vpnsrvA", SUITE)
    machine.boot()
    machine.copy_in(wheel, f"/root/{wheel.name}")
    machine.run("python3", "-m", "venv", "--system-site-packages", VENV, timeout=120)
    install = ("install", "--no-index", "--quiet", f"/root/{wheel.name}")
    machine.run(f"{VENV}/bin/pip", *install, timeout=120)
    machine.run("ln", "-s", f"{VENV}/bin/cuberouted", "/usr/local/bin/cuberouted")
    return machine


def test_setup_lets_systemd_run_it_and_uninstall_takes_that_back(machine: Machine) -> None:
    before = set(files(machine))
    assert_refused_below_a_home_directory(machine)
    assert set(files(machine)) == before
    shown = machine.run("cuberouted", "setup")
    assert f"wrote {UNIT}\n" in shown
    assert "ran systemctl daemon-reload\n" in shown
    assert machine.run("cuberouted", "setup").startswith("ran systemd-sysusers")
    assert "all files are as they should be" in machine.run("cuberouted", "setup")
    machine.run("getent", "passwd", "cuberouted")
    assert machine.run("stat", "-c", "%a", "/etc/credstore").strip() == "700"

    machine.write("/etc/cuberouted.conf", CONFIGURATION)
    machine.run("systemctl", "enable", "--quiet", "--now", "cuberouted")
    assert_runs(machine)
    assert "graceful-restart && systemctl restart" in machine.run("cuberouted", "setup")
    machine.run("systemctl", "reload", "cuberouted")
    machine.reboot()
    assert_runs(machine)

    shown = machine.run("cuberouted", "setup", "--uninstall")
    assert f"removed {UNIT}\n" in shown
    assert machine.try_run("systemctl", "is-active", "cuberouted").stdout.strip() == "inactive"
    assert machine.run("systemctl", "show", "-P", "LoadState", "cuberouted").strip() == "not-found"
    assert machine.read("/etc/cuberouted.conf") == CONFIGURATION
    machine.run("getent", "passwd", "cuberouted")
    assert set(files(machine)) - before == {"/etc/cuberouted.conf"}


def files(machine: Machine) -> list[str]:
    """The files in /etc and /usr/local that have to do with cuberouted."""
    found = machine.run("find", "/etc", "/usr/local", "!", "-type", "d", "-name", "*cuberouted*")
    return found.splitlines()


def assert_refused_below_a_home_directory(machine: Machine) -> None:
    machine.run("cp", "-a", VENV, "/root/venv")
    machine.run("sed", "-i", f"1s,{VENV},/root/venv,", "/root/venv/bin/cuberouted")
    done = machine.try_run("/root/venv/bin/cuberouted", "setup")
    assert done.returncode == 1
    assert "/root/venv/bin/cuberouted is below /root" in done.stderr


def assert_runs(machine: Machine) -> None:
    machine.run("systemctl", "is-active", "cuberouted")
    shown = machine.run("systemctl", "show", "-P", "ExecStart", "cuberouted")
    assert f"path={VENV}/bin/cuberouted " in shown
    text = ("systemctl", "show", "-P", "StatusText", "cuberouted")
    machine.wait_for("its status", lambda: "waiting for tun0, tun1" in machine.run(*text))
    status = machine.try_run("cuberouted", "status")
    assert status.returncode == 1  # there are neither interfaces nor an OpenVPN
    assert "problem: waiting for interface tun0, tun1" in status.stdout
