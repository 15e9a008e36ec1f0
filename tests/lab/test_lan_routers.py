"""docs/lan-routers.md: a router of a LAN beside the servers learns the way to the clients."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.lab import ping
from tests.lab.host import PROJECT, Host
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes
from tests.lab.routes import routes
from tests.lab.server import Server
from tests.lab.software import Frr
from tests.lab.waiting import wait_for
from tests.pages import blocks

ROUTER = "192.168.7.1"
LAN = "192.168.7.0/24"
SUBNET = "10.100.100.0/24"
BLOCKS = list(blocks(PROJECT / "docs/lan-routers.md"))
WHOLE_SUBNET, EACH_CLIENT = (each.text for each in BLOCKS if each.path == "/etc/bird/bird.conf")
[FRR] = [each.text for each in BLOCKS if each.path == "/etc/frr/frr.conf"]

ON_ROUTER = f"""\
router id {ROUTER};
protocol device {{ }}
protocol kernel {{ ipv4 {{ export all; }}; }}
template bgp server {{
    local {ROUTER} as 65000;
    direct;
    connect delay time 1;
    ipv4 {{ import all; export none; }};
}}
protocol bgp a from server {{ neighbor 192.168.7.11 as 65000; }}
protocol bgp b from server {{ neighbor 192.168.7.12 as 65000; }}
"""


class FrrWithBgp(Frr):
    """FRR with bgpd."""

    DAEMONS: ClassVar = {**Frr.DAEMONS, "bgpd": "bgpd.vty"}


def on_lan(server: Server) -> str:
    return f"192.168.7.{10 + server.number}"


def of(server: Server, text: str) -> str:
    """vpnsrvA's configuration of the page as *server* has it."""
    if server.number == 1:
        return text
    swap = {"192.168.7.11": "192.168.7.12", "192.168.7.12": "192.168.7.11", "vpnsrvB": "vpnsrvA"}
    return re.sub("|".join(swap), lambda match: swap[match[0]], text)


def start_bird(host: Host, text: str) -> None:
    # a new session is tried at once, not after the 5 s that BGP has against storms
    text = text.replace("    direct;\n", "    direct;\n    connect delay time 1;\n", 1)
    host.write("/run/bird/bird.conf", text)
    host.start("bird", "bird", "-f", "-c", "/run/bird/bird.conf")


@pytest.fixture
def router(lab: Lab) -> Iterator[Host]:
    """A router, which runs BIRD, on a LAN with the servers."""
    host = Host("router")
    try:
        host.wait_ready()
        lab.internet.plug(host, 250)
        host.ip(f"address add {ROUTER}/24 dev eth0")
        for server in lab.servers:
            server.host.ip(f"address add {on_lan(server)}/24 dev eth0")
        start_bird(host, ON_ROUTER)
        yield host
    finally:
        host.close()


def next_hops(router: Host) -> dict[str, str | None]:
    """Where BIRD on the router sends packets to clients and their subnet."""
    return {r.destination: r.gateway for r in routes(router) if r.destination.startswith("10.100.")}


@pytest.mark.parametrize("software", ["bird", "frr"])
def test_every_server_announces_the_client_subnet(lab: Lab, router: Host, software: str) -> None:
    a, b = lab.servers
    where = share(lab, {"host1": 0, "host2": 1})
    for client in where:
        client.host.ip(f"route add {LAN} dev tun0")
    if software == "bird":
        start_bird(a.host, WHOLE_SUBNET)
    else:
        lines = [line for line in FRR.splitlines() if not line.startswith("#")]
        FrrWithBgp(a.host, lines).start()
    wait_for("the way by vpnsrvA", lambda: next_hops(router) == {SUBNET: on_lan(a)}, timeout=30)
    for client in where:
        ping.wait_reaches(router, client.data)

    start_bird(b.host, of(b, WHOLE_SUBNET))
    a.openvpn.process.end(signal.SIGTERM)  # its tun0 goes
    wait_for("the way by vpnsrvB", lambda: next_hops(router) == {SUBNET: on_lan(b)}, timeout=30)
    _, two = where
    ping.wait_reaches(router, two.data)


def test_a_client_is_announced_with_its_own_server_as_the_next_hop(lab: Lab, router: Host) -> None:
    a, _ = lab.servers
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    for server in lab.servers:
        start_bird(server.host, of(server, EACH_CLIENT))

    def announced() -> bool:
        found = next_hops(router)
        clients = {f"{client.data}/32": on_lan(server) for client, server in where.items()}
        return found.items() >= clients.items() and SUBNET in found

    wait_for("the ways", announced, timeout=30)
    for client in where:
        client.host.ip(f"route add {LAN} dev tun0")
        ping.wait_reaches(router, client.data)
    two.roam(a)
    two.host.ip(f"route add {LAN} dev tun0")
    where[two] = a
    wait_routes(lab, where)
    wait_for("the new way", announced, timeout=30)
    ping.wait_reaches(router, two.data)
    one.leave()
    wait_for("its way to go", lambda: f"{one.data}/32" not in next_hops(router), timeout=30)
    del where[one]
    assert_all_reach_all(where)
