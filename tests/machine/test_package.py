"""The life of the package on a machine: what it does to what runs, and to what was configured."""

from __future__ import annotations

import pytest

from tests.machine.conftest import NewMachine
from tests.machine.machine import Machine
from tests.machine.server import CONFIGURATION, RELEASES, UNIT
from tests.machine.site import package

INSTANCE = "cuberouted@blue.service"
INSTANCE_CONFIGURATION = "/etc/cuberouted/blue.conf"
SETTINGS = """\
data_interface = tun0
mgmt_interface = tun1
remote_mgmt_ip = 10.200.200.5
openvpn_mgmt_port = 5656
"""
INSTANCE_SETTINGS = """\
control_socket = /run/cuberouted@blue/control.sock
state_directory = /var/lib/cuberouted@blue
"""
ROUTE = ("10.100.100.14/32", "dev", "lo", "proto", "201")
STAYS = "  ip -4 route flush table all proto 201\n"


class Package:
    """The package on a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def apt(self, *argv: str) -> str:
        """What apt-get and the package say. It must end well."""
        options = ("-qq", "--allow-downgrades", "-o", "Dpkg::Use-Pty=0")
        done = self.machine.try_run("apt-get", *argv, *options, timeout=120)
        assert done.returncode == 0, done
        return done.stdout + done.stderr

    def install(self) -> str:
        """The same one again is an upgrade as well."""
        return self.apt("install", "--reinstall", "/root/cuberouted.deb")

    def property(self, name: str, unit: str = UNIT) -> str:
        """One of a unit's properties."""
        return self.machine.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def pids(self) -> tuple[str, str]:
        """The daemon's and the instance's."""
        return self.property("MainPID"), self.property("MainPID", INSTANCE)

    def leave_route(self) -> None:
        """What is there after a crash, or with `on_exit = keep`."""
        self.machine.run("systemctl", "stop", UNIT)
        self.machine.run("ip", "route", "add", *ROUTE)


@pytest.fixture(params=RELEASES)
def installed(request: pytest.FixtureRequest, new_machine: NewMachine) -> Package:
    """A machine that has the package's file."""
    machine = new_machine("vpn", request.param)
    machine.boot()
    machine.copy_in(package(request.param), "/root/cuberouted.deb")
    return Package(machine)


def test_the_life_of_a_package(installed: Package) -> None:
    _waits_for_a_configuration(installed)
    _runs_with_one(installed)
    _an_upgrade_restarts_what_would_start(installed)
    _removal_stops_all_and_tells_what_stays(installed)
    _it_starts_if_it_comes_back(installed)
    _purge_leaves_no_file_and_tells_what_stays(installed)


def _waits_for_a_configuration(package: Package) -> None:
    machine = package.machine
    assert f"{CONFIGURATION} has no setting yet" in package.install()
    assert machine.run("systemctl", "is-enabled", UNIT) == "enabled\n"
    assert package.property("ActiveState") == "inactive"
    done = machine.try_run("systemctl", "start", UNIT)
    assert done.returncode
    status = machine.try_run("systemctl", "status", "--no-pager", "--full", UNIT).stdout
    assert f"{CONFIGURATION}: has no setting" in status
    machine.run("systemctl", "reset-failed")
    machine.reboot()  # no unit may fail
    assert package.property("ActiveState") == "inactive"
    assert package.property("Result") == "exec-condition"


def _runs_with_one(package: Package) -> None:
    machine = package.machine
    machine.write(CONFIGURATION, SETTINGS)
    machine.write(INSTANCE_CONFIGURATION, INSTANCE_SETTINGS + SETTINGS)
    machine.run("ip", "netns", "add", "blue")
    machine.run("systemctl", "start", UNIT)
    machine.run("systemctl", "enable", "--now", INSTANCE)
    assert "vpn: running" in machine.try_run("cuberouted", "status").stdout
    asked = machine.try_run("cuberouted", "--config", INSTANCE_CONFIGURATION, "status")
    assert "vpn: running" in asked.stdout
    one, other = (machine.run("readlink", f"/proc/{pid}/ns/net") for pid in package.pids())
    assert one != other
    blue = machine.run("ip", "netns", "identify", package.property("MainPID", INSTANCE))
    assert blue == "blue\n"


def _an_upgrade_restarts_what_would_start(package: Package) -> None:
    (before, instance), text = package.pids(), package.machine.read(CONFIGURATION)
    package.machine.write(CONFIGURATION, text.replace("mgmt_interface", "mgmt_intreface"))
    said = package.install()
    assert f"{CONFIGURATION}:2: mgmt_intreface: " in said
    assert f"cuberouted: {UNIT} runs on, with the old program" in said
    assert package.property("MainPID") == before
    package.machine.write(CONFIGURATION, text)
    assert package.property("MainPID", INSTANCE) not in ("0", instance)
    assert package.property("ActiveState", INSTANCE) == "active"


def _removal_stops_all_and_tells_what_stays(package: Package) -> None:
    package.leave_route()
    said = package.apt("remove", "cuberouted")
    assert "stay in the kernel" in said
    assert STAYS in said
    assert package.pids() == ("0", "0")
    assert package.machine.read(CONFIGURATION) == SETTINGS


def _it_starts_if_it_comes_back(package: Package) -> None:
    package.install()
    assert package.property("ActiveState") == "active"
    assert package.property("ActiveState", INSTANCE) == "active"
    # its first scan removes what its predecessor has left
    machine = package.machine
    look = ("ip", "route", "show", "table", "all", "proto", "201")
    machine.wait_for("the old route to go", lambda: not machine.run(*look))


def _purge_leaves_no_file_and_tells_what_stays(package: Package) -> None:
    machine = package.machine
    machine.run("rm", INSTANCE_CONFIGURATION)  # it is not the package's
    package.leave_route()
    assert package.apt("purge", "cuberouted").count(STAYS) == 2  # removal, and purge
    machine.run(*STAYS.split())
    places = ("/etc", "/run", "/usr/lib", "/usr/share", "/var/lib")
    found = machine.run(
        "find", *places, "-xdev", "-name", "*cuberouted*", "-not", "-path", "*/dpkg/*"
    )
    assert found == ""
