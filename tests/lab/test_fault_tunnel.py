"""The tunnel between two servers is recreated, or loses packets."""

from __future__ import annotations

import os
import signal
import time

from tests.lab import ping, routes
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes, wanted
from tests.lab.network import drop_packets, stop_dropping
from tests.lab.waiting import wait_for

CLIENTS = {"host1": 0, "host2": 1}
LOSSY = float(os.environ.get("CUBEROUTED_LOSSY", "6"))
"""Seconds of packet loss."""

TIMEOUT = 30.0
"""Seconds for an update to get through that loss; the peer may be down meanwhile."""


def index(host: Host, device: str) -> int:
    """The interface index of a device."""
    return int(host.run("cat", f"/sys/class/net/{device}/ifindex"))


def test_routes_return_when_a_tunnel_is_recreated_with_another_interface_index(lab: Lab) -> None:
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


def test_all_routes_are_right_after_packet_loss_in_the_tunnel(lab: Lab) -> None:
    where = share(lab, CLIENTS)
    _, two = where
    for server, peer in zip(lab.servers, reversed(lab.servers), strict=True):
        drop_packets(server.host, 20, server.device(peer))
    end = time.monotonic() + LOSSY
    server, other = lab.servers
    while time.monotonic() < end:  # updates have to be sent meanwhile
        two.roam(server)
        where[two] = server
        # a client that roams before this is known would have two sessions of the same version
        routes.wait_towards(other.host, wanted(other, where), timeout=TIMEOUT)
        server, other = other, server
    for each in lab.servers:
        stop_dropping(each.host)
    begin = time.monotonic()
    wait_routes(lab, where)
    print(f"all routes right {time.monotonic() - begin:.1f} s after {LOSSY:g} s of loss")
    assert_all_reach_all(where)
