"""Networks behind clients (``iroute``) are reached from every server.

OpenVPN's own ``route`` for such a network stands in the main table of every server, with
a better metric than ours; a table of our own, consulted first, wins over it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import ping, routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons, wait_routes
from tests.lab.openvpn import Options
from tests.lab.server import Server
from tests.lab.waiting import wait_for

NETWORKS = ("192.168.50.0/24", "fd00:50::/64")
BEHIND = ("192.168.50.1", "fd00:50::1")
TABLE = "100"

OPTIONS = Options(
    lines=(
        "route 192.168.50.0 255.255.255.0 10.100.100.2",
        "route-ipv6 fd00:50::/64",
        'push "route 192.168.50.0 255.255.255.0"',
        'push "route-ipv6 fd00:50::/64"',
    )
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(options=OPTIONS) as lab:
        yield lab


@pytest.fixture
def where(lab: Lab) -> dict[Client, Server]:
    """A client with networks behind it on A, and one without on B."""
    a, b = lab.servers
    gateway, other = lab.client("gateway", NETWORKS), lab.client("host2")
    gateway.host.ip(*(f"address add {address} dev lo" for address in BEHIND))
    gateway.connect(a)
    other.connect(b)
    return {gateway: a, other: b}


def own_table(server: Server) -> str:
    return mesh(server, f"route_table = {TABLE}")


def test_a_network_behind_a_remote_client_is_reached(lab: Lab, where: dict[Client, Server]) -> None:
    _, other = where
    assert not ping.reaches(other.host, BEHIND[0])
    start_daemons(lab.servers, own_table)
    wait_routes(lab, where, table=TABLE)
    for address in BEHIND:
        assert ping.reaches(other.host, address), address
    assert routes.ours(lab.servers[1].host) == set()


def test_a_network_moves_with_its_client(lab: Lab, where: dict[Client, Server]) -> None:
    start_daemons(lab.servers, own_table)
    wait_routes(lab, where, table=TABLE)
    gateway, other = where
    third = lab.client("host3")
    third.connect(lab.servers[0])
    gateway.roam(lab.servers[1])
    where |= {gateway: lab.servers[1], third: lab.servers[0]}
    wait_routes(lab, where, table=TABLE)
    for client in (other, third):
        for address in BEHIND:
            assert ping.reaches(client.host, address), f"{client.name} to {address}"


def test_our_own_table_has_a_rule_while_the_daemon_runs(
    lab: Lab, where: dict[Client, Server]
) -> None:
    start_daemons(lab.servers, own_table)
    wait_routes(lab, where, table=TABLE)
    for server in lab.servers:
        assert [rule["table"] for rule in routes.rules(server.host)] == [TABLE, TABLE]
        assert server.daemon.stop() == 0
        assert routes.rules(server.host) == []
        assert routes.ours(server.host, TABLE) == set()


def test_a_route_shadowed_by_openvpn_s_own_is_reported_with_advice(
    lab: Lab, where: dict[Client, Server]
) -> None:
    start_daemons(lab.servers)
    wait_routes(lab, where)
    b = lab.servers[1]
    # in IPv6 the kernel gives OpenVPN's route the metric 1024, and ours is better; but route(8),
    # which OpenVPN up to 2.4 may use, gives it the metric 1
    [six] = [r for r in routes.routes(b.host) - routes.ours(b.host) if r.destination == NETWORKS[1]]
    better = six.metric > routes.METRIC
    conflicts = 1 if better else 2
    wait_for("the conflict", lambda: b.daemon.ask("status")["routes"]["conflicts"] == conflicts)
    assert ping.reaches(b.host, BEHIND[1]) is better
    assert not ping.reaches(b.host, BEHIND[0])
    b.daemon.process.wait_log("route_table")
