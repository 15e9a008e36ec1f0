"""Other programs on OpenVPN's management interface, which serves one connection at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons, wait_routes
from tests.lab.openvpn import Options

HOLDER = """
import socket, sys, time
sock = socket.create_connection(("127.0.0.1", 5656))
sock.sendall(open("/etc/openvpn/pass", "rb").read())
while b">INFO" not in sock.recv(4096):
    pass
print("holding", flush=True)
time.sleep(60)
"""


def test_a_management_interface_held_by_another_program_is_reported(lab: Lab) -> None:
    a, _ = lab.servers
    holder = a.host.start("holder", sys.executable, "-c", HOLDER)
    holder.wait_log("holding")
    start_daemons(lab.servers)
    a.daemon.process.wait_log("openvpn_status_file", timeout=15)
    holder.end()
    one = lab.client("host1")
    one.connect(a)
    wait_routes(lab, {one: a})


CLIENT_AUTH = ("management-client-auth", "auth-user-pass-optional")


@pytest.fixture
def lab_with(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two servers, not started, with more lines of OpenVPN's configuration."""
    with Lab(options=Options(lines=request.param), start=False) as lab:
        yield lab


@pytest.mark.parametrize("lab_with", [("management-hold",)], indirect=True)
def test_a_hold_is_reported_and_not_released(lab_with: Lab) -> None:
    a, _ = lab_with.servers
    a.openvpn.start()
    a.daemon.run(mesh(a))
    a.daemon.process.wait_log("hold")
    assert a.daemon.command("status").returncode == 1
    assert "CMD 'hold" not in a.openvpn.process.log


@pytest.mark.parametrize("lab_with", [CLIENT_AUTH], indirect=True)
def test_an_interface_with_client_auth_is_left_to_its_manager(lab_with: Lab) -> None:
    lab_with.start()
    a, _ = lab_with.servers
    a.daemon.run(mesh(a))
    lab_with.client("host1").start(a)
    a.daemon.process.wait_log("management-client-auth")
    manager = a.host.start("manager", sys.executable, "-c", HOLDER)
    manager.wait_log("holding")
    assert a.daemon.running
    assert a.daemon.command("status").returncode == 1
