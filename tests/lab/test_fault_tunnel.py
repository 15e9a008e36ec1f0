"""The tunnel between two servers is recreated, or loses packets."""

from __future__ import annotations

import os
import signal
import time

from tests.lab import ping, routes
from tests.lab.configs import mesh
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, start_daemons, wait_routes, wanted
from tests.lab.network import drop_large_packets, drop_packets, stop_dropping
from tests.lab.server import Server
from tests.lab.waiting import wait_for

CLIENTS = {"host1": 0, "host2": 1}
LOSSY = float(os.environ.get("CUBEROUTED_LOSSY", "6"))
"""Seconds of packet loss."""

TIMEOUT = 30.0
"""Seconds for an update to get through that loss; the peer may be down meanwhile."""

MANY = tuple(f"192.168.{number}.0/24" for number in range(130))
"""Networks that fit into no small packet."""


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


def test_a_tunnel_that_carries_no_large_packet_is_named_on_both_sides(lab: Lab) -> None:
    a, b = lab.servers
    gateway = lab.client("gateway", MANY)
    gateway.connect(a)
    a.host.ip("route add 192.168.0.0/16 dev tun0")  # as OpenVPN's own `route` does
    for server, peer in ((a, b), (b, a)):
        drop_large_packets(server.host, 900, server.device(peer))
    start_daemons(
        lab.servers,
        lambda server: mesh(
            server, "allowed_networks = 10.100.100.0/24, fd00:100::/64, 192.168.0.0/16"
        ),
    )

    def told(server: Server, text: str) -> bool:
        done = server.daemon.command("status")
        return done.returncode == 1 and text in done.stdout

    begin = time.monotonic()
    small = f"heartbeats come, larger messages do not: is the MTU of {b.device(a)} right?"
    wait_for("B to name it", lambda: told(b, small), timeout=30)
    print(f"the receiver named it after {time.monotonic() - begin:.1f} s")
    lost = f"larger messages do not reach it: is the MTU of {a.device(b)} right?"
    wait_for("A to name it", lambda: told(a, lost), timeout=60)
    print(f"the sender named it after {time.monotonic() - begin:.1f} s")
    for server in lab.servers:
        stop_dropping(server.host)
    mended = time.monotonic()
    wait_for("all routes", lambda: set(MANY) <= set(routes.towards(b.host)), timeout=30)
    print(f"all routes {time.monotonic() - mended:.1f} s after it was mended")
    for server in lab.servers:
        wait_for(
            f"{server.name} to be well",
            lambda server=server: server.daemon.command("status").returncode == 0,  # type: ignore[misc]
        )
    changes = [line for line in b.daemon.process.log.splitlines() if " -> " in line]
    assert len(changes) <= 6, changes
