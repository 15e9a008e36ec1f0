"""The tunnel between two servers is made anew, loses packets, or is slow."""

from __future__ import annotations

import os
import signal
import time

from tests.lab import ping, routes
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes, wanted
from tests.lab.network import lose, lose_nothing
from tests.lab.waiting import wait_for

CLIENTS = {"host1": 0, "host2": 1}
LOSSY = float(os.environ.get("CUBEROUTED_LOSSY", "6"))
"""Seconds of packet loss."""

PATIENCE = 30.0
"""Seconds for news to come through with that loss; the peer may be down for some of them."""


def index(host: Host, device: str) -> int:
    """The kernel's number of a device."""
    return int(host.run("cat", f"/sys/class/net/{device}/ifindex"))


def test_a_tunnel_made_anew_under_another_number_has_its_routes_again(lab: Lab) -> None:
    where = share(lab, CLIENTS)
    a, b = lab.servers
    tunnel = a.tunnels[b.name]
    before = index(a.host, tunnel.device)
    tunnel.openvpn.process.end(signal.SIGKILL)
    wait_for("the routes to go with it", lambda: not routes.ours(a.host))
    assert routes.nexthops(a.host) == []
    tunnel.openvpn.start()
    a.ready()
    begin = time.monotonic()
    wait_routes(lab, where)
    took = time.monotonic() - begin
    print(f"routes through the new tunnel {took:.2f} s after it had its address")
    assert index(a.host, tunnel.device) != before
    one, two = where
    ping.wait_reaches(one.host, two.data)  # once the tunnel's other end has noticed
    assert_all_reach_all(where)


def test_a_tunnel_that_lost_every_fifth_packet_has_every_route_afterwards(lab: Lab) -> None:
    where = share(lab, CLIENTS)
    _, two = where
    for server, peer in zip(lab.servers, reversed(lab.servers), strict=True):
        lose(server.host, 20, server.device(peer))
    end = time.monotonic() + LOSSY
    server, other = lab.servers
    while time.monotonic() < end:  # something has to be told meanwhile
        two.roam(server)
        where[two] = server
        # who moves on before this is known has two sessions that are equally new
        routes.wait_towards(other.host, wanted(other, where), timeout=PATIENCE)
        server, other = other, server
    for each in lab.servers:
        lose_nothing(each.host)
    begin = time.monotonic()
    wait_routes(lab, where)
    print(f"all routes right {time.monotonic() - begin:.1f} s after {LOSSY:g} s of loss")
    assert_all_reach_all(where)
