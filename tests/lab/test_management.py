"""Every way to OpenVPN's management interface, and the status file in its place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import ping
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes
from tests.lab.openvpn import Options
from tests.lab.server import Server

WAYS = [
    "127.0.0.1 5656",
    "127.0.0.1 7505 /etc/openvpn/pass",
    "/run/openvpn/data.sock unix",
    "/run/openvpn/data.sock unix /etc/openvpn/pass",
]

STATUS_FILE = "/run/openvpn/status"


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(options=request.param) as lab:
        yield lab


@pytest.mark.parametrize("lab", [Options(management=way) for way in WAYS], ids=WAYS, indirect=True)
def test_clients_reach_each_other(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    assert_all_reach_all(where)
    three = lab.client("host3")
    three.connect(lab.servers[0])
    where[three] = lab.servers[0]
    wait_routes(lab, where)


@pytest.mark.parametrize(
    "lab",
    [Options(lines=(f"status {STATUS_FILE} 1", f"status-version {n}")) for n in (2, 3)],
    ids=["version 2", "version 3"],
    indirect=True,
)
def test_a_status_file_does_where_somebody_else_holds_the_interface(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers, from_status_file)
    wait_routes(lab, where)
    assert_all_reach_all(where)
    one, two = where
    ping.Stream(one.host, two.data, interval=0.5)  # an idle OpenVPN writes every 10 s only
    two.leave()
    del where[two]
    wait_routes(lab, where)
    two.connect(lab.servers[0])
    where[two] = lab.servers[0]
    wait_routes(lab, where)


def from_status_file(server: Server) -> str:
    lines = mesh(server).splitlines()
    kept = [line for line in lines if not line.startswith("openvpn_mgmt")]
    return "\n".join([f"openvpn_status_file = {STATUS_FILE}", *kept]) + "\n"
