"""What OpenVPN lists and cuberouted does not share is told, with what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import pki
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons
from tests.lab.openvpn import OpenVPN, Options, client_config, tunnel_config
from tests.lab.server import Server
from tests.lab.waiting import wait_for

NO_NAMES = (
    "verify-client-cert none",
    "auth-user-pass-optional",
    "auth-user-pass-verify /bin/true via-file",
    "script-security 2",
)


@pytest.fixture
def lab_with(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two servers with more lines of OpenVPN's configuration."""
    with Lab(options=Options(lines=request.param)) as lab:
        yield lab


def start_well(lab: Lab, *more: str) -> None:
    """Starts every daemon, and waits until `status` has nothing to tell."""
    start_daemons(lab.servers, lambda server: mesh(server, *more))
    a = lab.servers[0]
    wait_for("all to be well", lambda: a.daemon.command("status").returncode == 0)


def wait_told(server: Server, text: str) -> None:
    """Waits until `status` tells *text*, for people and in JSON, and exits with 1."""
    daemon = server.daemon
    wait_for(f"status to tell {text}", lambda: text in daemon.command("status").stdout)
    assert daemon.command("status").returncode == 1
    found = daemon.ask("status")
    assert text in str(found["problems"]) + str(found["openvpn"])


def wait_not_told(server: Server, text: str) -> None:
    """Waits until `status` no longer tells *text*."""
    daemon = server.daemon
    wait_for(f"status not to tell {text}", lambda: text not in daemon.command("status").stdout)


@pytest.mark.parametrize("lab_with", [NO_NAMES], indirect=True)
def test_clients_without_a_name_are_told(lab_with: Lab) -> None:
    a, _ = lab_with.servers
    one = lab_with.client("host1")
    a.allow("DEFAULT", one.data)
    start_well(lab_with, "status_interval = 3s")
    one.connect(a)
    wait_told(a, "username-as-common-name")
    assert " 0 of 1" in a.daemon.command("status").stdout
    one.leave()
    wait_not_told(a, "username-as-common-name")
    lines = [line for line in a.daemon.process.log.splitlines() if "common name" in line]
    assert len(lines) == 2, lines
    assert "no longer: clients without a common name" in lines[1]


@pytest.mark.parametrize("lab_with", [("dev-type tap",)], indirect=True)
def test_clients_of_a_tap_device_are_told(lab_with: Lab) -> None:
    a, _ = lab_with.servers
    one = lab_with.client("host1")
    start_well(lab_with, "status_interval = 3s")  # it is listed with its first packet
    config = client_config(one.name, a.internet).replace("dev-type tun", "dev-type tap")
    openvpn = OpenVPN(one.host, "client", config)
    openvpn.start()
    openvpn.ready()
    wait_told(a, "use 'dev tun' in OpenVPN's configuration")
    assert a.daemon.process.log.count("use 'dev tun'") == 1
    done = a.daemon.command("check", "--only", "tap-device")
    assert done.returncode == 1
    assert "has a tap device" in done.stdout


def test_prefixes_that_the_policy_refuses_are_told(lab: Lab) -> None:
    a, _ = lab.servers
    one = lab.client("host1", ("192.168.77.0/24",))
    start_well(lab)
    one.connect(a)
    wait_told(a, "1 prefix refused, last 192.168.77.0/24: outside allowed_networks")
    one.leave()
    wait_not_told(a, "192.168.77.0/24")
    assert a.daemon.command("status").returncode == 0
    log = a.daemon.process.log
    assert log.count("192.168.77.0/24 refused: outside allowed_networks") == 1
    a.daemon.process.wait_log("no longer: refused prefixes")


def test_an_openvpn_that_is_no_server_is_told_as_such(lab: Lab) -> None:
    a, b = lab.servers
    ends = "10.88.0.1", "10.88.0.2"
    config = tunnel_config("tun9", ends, 1299, b.internet, pki.static_key())
    tunnel = OpenVPN(a.host, "point-to-point", f"{config}management 127.0.0.1 5700\n")
    tunnel.start()
    tunnel.process.wait_log("MANAGEMENT: TCP Socket listening")
    start_well(lab)
    assert a.daemon.stop() == 0
    wrong = mesh(a).replace("openvpn_mgmt_port = 5656", "openvpn_mgmt_port = 5700")
    a.daemon.run(wrong.replace("openvpn_mgmt_pass_file = /etc/openvpn/pass", ""))
    wait_told(a, "this OpenVPN is no server")
    wait_for("the peer", lambda: a.daemon.ask("status")["peers"][0]["state"] == "up")
    assert a.daemon.command("status").returncode == 1
    assert a.daemon.process.log.count("this OpenVPN is no server") == 1
