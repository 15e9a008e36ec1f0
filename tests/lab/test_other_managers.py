"""Other programs on OpenVPN's management interface, which serves one connection at a time."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from tests.lab.configs import mesh
from tests.lab.host import PROJECT
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes
from tests.lab.openvpn import Options
from tests.lab.server import Server

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


def behind_pass_through(server: Server, *more: str) -> str:
    """The configuration of a daemon that connects to the pass-through."""
    text = mesh(server, *more).replace("openvpn_mgmt_port = 5656", "openvpn_mgmt_port = 5657")
    return text.replace("openvpn_mgmt_pass_file = /etc/openvpn/pass\n", "")


def start_pass_through(server: Server) -> None:
    """Starts the manager of *server*'s OpenVPN."""
    program = str(PROJECT / "tests/lab/pass_through.py")
    server.host.start("manager", sys.executable, program, "/etc/openvpn/pass").wait_log("ready")


@pytest.mark.parametrize("lab_with", [CLIENT_AUTH], indirect=True)
def test_another_manager_passes_its_interface_through(lab_with: Lab) -> None:
    lab_with.start()
    for server in lab_with.servers:
        start_pass_through(server)
    start_daemons(
        lab_with.servers, lambda server: behind_pass_through(server, "openvpn_mgmt_shared = yes")
    )
    where = connect(lab_with, {"host1": 0, "host2": 1})
    wait_routes(lab_with, where)
    assert_all_reach_all(where)
    one, _ = where
    one.leave()
    del where[one]
    wait_routes(lab_with, where)
    a, _ = lab_with.servers
    assert not re.search("CMD '(log|state) on", a.openvpn.process.log)


@pytest.mark.parametrize("lab_with", [CLIENT_AUTH], indirect=True)
def test_clients_can_log_in_once_we_have_left_a_pass_through(lab_with: Lab) -> None:
    lab_with.start()
    a, _ = lab_with.servers
    start_pass_through(a)
    a.daemon.run(behind_pass_through(a))
    a.openvpn.process.wait_log("CMD 'log on'")
    one = lab_with.client("host1")
    one.start(a)
    a.daemon.process.wait_log("openvpn_mgmt_shared = yes")
    a.openvpn.process.wait_log("CMD 'log off'")
    one.vanish()
    one.connect(a)
