"""The real daemon, several of it, on fakes and in no real time: clients, and what it answers."""

from __future__ import annotations

import pytest
import trio

from cuberouted.api.report import Clients, RouteInfos
from cuberouted.daemon.snapshot import status_line
from tests.fakes.api import get
from tests.fakes.server import START, section_of
from tests.unit.daemon.meshes import (
    AT_ONCE,
    HOST1,
    HOST2,
    HOST3,
    deletions,
    routed_to,
    started,
    states,
    status,
)


async def test_a_client_is_routed_everywhere_else_while_it_is_connected(mesh, autojump_clock):
    a, b, c = await started(mesh)
    client = a.connect("host1", HOST1)
    assert await mesh.until(lambda: b.clients == c.clients == {HOST1: "A"}) < AT_ONCE
    assert a.clients == {}
    a.openvpn.disconnect(client)
    assert await mesh.until(lambda: b.clients == c.clients == {}) < AT_ONCE


async def test_a_client_that_openvpn_did_not_announce_is_found_in_its_listing(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    a.connect("host1", HOST1, quiet=True)
    assert await mesh.until(lambda: b.clients == {HOST1: "A"}) <= a.config.poll_interval + AT_ONCE


async def test_a_client_that_moves_is_followed_at_once_and_its_old_session_dropped(
    mesh, autojump_clock
):
    a, b, c = await started(mesh)
    old = a.connect("host1", HOST1)
    await mesh.until(lambda: c.clients == {HOST1: "A"})
    b.connect("host1", HOST1)  # A has not noticed that it has gone
    took = await mesh.until(
        lambda: (a.clients, b.clients, c.clients) == ({HOST1: "B"}, {}, {HOST1: "B"})
    )
    assert took < AT_ONCE
    await mesh.until(lambda: old not in a.openvpn.clients)
    assert b'kill "host1"' in a.openvpn.asked
    assert not any(asked.startswith((b"kill", b"client-kill")) for asked in b.openvpn.asked)
    assert a.clients == {HOST1: "B"}


async def test_a_client_that_comes_back_is_local_again(mesh, autojump_clock):
    a, b, c = await started(mesh)
    for at, others in ((a, (b, c)), (b, (a, c)), (a, (b, c))):
        at.connect("host1", HOST1)
        await mesh.until(lambda: routed_to(at, others))  # noqa: B023
        assert at.clients == {}


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
async def test_the_newest_session_wins_whatever_the_clocks_say(mesh, autojump_clock, skew):
    for name in "ABC":
        mesh.add(name)
    mesh["B"].skew = skew
    await mesh.start()
    a, b, c = mesh.servers
    for at, others in ((a, (b, c)), (b, (a, c)), (c, (a, b))):
        at.connect("host1", HOST1)
        await mesh.until(lambda: routed_to(at, others))  # noqa: B023


async def test_no_session_is_dropped_where_that_is_switched_off(mesh, autojump_clock):
    a, b, c = await started(mesh, "ABC", "kill_superseded_sessions = no")
    a.connect("host1", HOST1)
    await mesh.until(lambda: c.clients == {HOST1: "A"})
    b.connect("host1", HOST1)
    await mesh.until(lambda: a.clients == c.clients == {HOST1: "B"})
    await trio.sleep(100)
    assert len(a.openvpn.clients) == 1
    assert c.clients == {HOST1: "B"}


async def test_nobody_is_dropped_for_a_client_that_a_script_then_refuses(mesh, autojump_clock):
    a, b, c = await started(mesh)
    a.connect("host1", HOST1)
    await mesh.until(lambda: c.clients == {HOST1: "A"})
    b.openvpn.connect(b"host1", HOST1.encode(), refused=True)
    await trio.sleep(100)
    assert c.kernel.devices_of(HOST1) == ["to-A", "to-B", "to-A"]
    assert len(a.openvpn.clients) == 1
    assert b.clients == c.clients == {HOST1: "A"}


async def test_two_clients_with_one_address_are_reported_and_neither_is_dropped(
    mesh, autojump_clock
):
    a, b, c = await started(mesh)
    a.connect("host1", HOST1)
    await mesh.until(lambda: c.clients == {HOST1: "A"})
    b.connect("host2", HOST1)
    await mesh.until(lambda: c.clients == {HOST1: "B"})
    await trio.sleep(100)
    assert len(a.openvpn.clients) == len(b.openvpn.clients) == 1
    assert status(c).problems == [
        f"{HOST1} has two clients: host2 at B and host1 at A: their address pools overlap"
    ]


async def test_a_network_behind_a_client_is_routed_in_a_table_of_its_own(mesh, autojump_clock):
    for name in "AB":
        mesh.add(name, "allowed_networks = 10.100.100.0/24, 192.168.0.0/16", table=100)
    await mesh.start()
    a, b = mesh.servers
    a.connect("host1", HOST1, "192.168.50.0/24")
    await mesh.until(lambda: b.clients == {HOST1: "A", "192.168.50.0/24": "A"})
    assert b.kernel.rules() == [(5657, 100)] * 2
    await b.stop()
    assert b.kernel.rules() == []


async def test_with_two_openvpns_a_local_client_is_led_to_its_own_device(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    a.kernel.add_tunnel("tun9")
    a.kernel.add_address("tun9", "10.100.100.99/24")
    tcp = a.add_openvpn("tcp")
    a.openvpns["udp"] = a.openvpns.pop("")
    a.sections = [
        section_of(b),
        "[openvpn udp]",
        "[openvpn tcp]\nmgmt_port = 5658\ndata_interface = tun9",
    ]
    await mesh.start()
    tcp.connect(b"host1", HOST1.encode())
    a.openvpns["udp"].connect(b"host2", HOST2.encode())
    await mesh.until(lambda: len(b.clients) == 3)
    assert b.clients == {"10.100.100.99": "A", HOST1: "A", HOST2: "A"}
    assert a.clients == {HOST1: "tun9", HOST2: "tun0"}
    a.openvpns["udp"].connect(b"host1", HOST1.encode())
    await mesh.until(lambda: a.clients == {HOST1: "tun0", HOST2: "tun0"})


async def test_adopted_routes_to_a_device_of_our_own_go_when_its_openvpn_lists_without_them(
    mesh, autojump_clock
):
    a, b = mesh.add("A"), mesh.add("B")
    a.kernel.add_tunnel("tun9")
    tcp, udp = a.add_openvpn("tcp"), a.add_openvpn("udp")
    a.sections = [
        section_of(b),
        "[openvpn udp]",
        "[openvpn tcp]\nmgmt_port = 5658\ndata_interface = tun9",
    ]
    await mesh.start()
    gone = tcp.connect(b"host1", HOST1.encode())
    tcp.connect(b"host2", HOST2.encode())
    udp.connect(b"host3", HOST3.encode())
    everything = {HOST1: "tun9", HOST2: "tun9", HOST3: "tun0"}
    await mesh.until(lambda: a.clients == everything)
    await a.crash()
    tcp.disconnect(gone)
    assert a.clients == everything
    began = trio.current_time()
    await a.start()
    await mesh.until(lambda: a.clients == {HOST2: "tun9", HOST3: "tun0"})
    assert len(deletions(a, began)) == 1


# -- what it answers --


async def test_status_clients_and_owners_tell_what_there_is(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    a.connect("host1", HOST1)
    b.openvpn.connect(b"j\xfcrg \x01", HOST2.encode())
    await mesh.until(lambda: a.clients == {HOST2: "B"})
    await trio.sleep(60)
    now = status(a)
    assert now.well
    assert (now.node, now.problems) == ("A", [])
    assert now.uptime == pytest.approx(60, abs=1)
    assert [(o.name, o.state, o.version, o.clients) for o in now.openvpn] == [
        ("openvpn", "connected", "2.6.14", 1)
    ]
    (peer,) = now.peers
    assert (peer.name, peer.state, peer.clients, peer.detail) == ("B", "up", 1, "")
    assert peer.last_heard is not None
    assert peer.last_heard <= a.config.heartbeat_interval
    assert (now.routes.desired, now.routes.installed, now.routes.conflicts) == (2, 2, 0)

    clients = await get(a.endpoints, "/v1/clients", Clients)
    since = "2026-11-21T00:49:00Z"
    assert START == 1_795_222_140
    assert [(c.address, c.node, c.name, c.kind, c.since, c.local) for c in clients.clients] == [
        (HOST1, "A", "host1", "client", since, True),
        (HOST2, "B", "j\\xfcrg \\x01", "client", since, False),
    ]

    infos = await get(a.endpoints, "/v1/routes", RouteInfos)
    assert (infos.node, sorted(infos.routes)) == ("A", ["10.100.100.102/32", f"{HOST2}/32"])
    info = infos.routes[f"{HOST2}/32"]
    assert (info.node, info.kind, info.name) == ("B", "client", "j\\xfcrg \\x01")
    assert info.age == pytest.approx(60, abs=1)
    assert status_line(a.daemon) == "1 client, 2 routes"


async def test_a_foreign_route_is_left_alone_and_counted(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    a.kernel.add_route(f"{HOST1}/32", "to-B", metric=50)
    a.kernel.add_route(f"{HOST2}/32", "tun0", metric=10)
    b.connect("host1", HOST1)
    b.connect("host2", HOST2)
    await mesh.until(lambda: status(a).routes.conflicts == 2)
    assert a.clients == {HOST2: "B"}
    assert status(a).problems == [
        (
            f"{HOST2}/32 dev tun0 in table main (protocol static, metric 10): packets to host2,"
            f" {HOST2}, which is connected at B, leave by tun0; remove it where it was configured,"
            f" or by `ip route del {HOST2}/32 dev tun0 table main metric 10`"
        ),
        f"route {HOST1}/32: a foreign route has our metric 50",
    ]
    a.kernel.remove_route(f"{HOST1}/32", metric=50)
    a.kernel.remove_route(f"{HOST2}/32", metric=10)
    await mesh.until(lambda: a.clients == {HOST1: "B", HOST2: "B"})
    await mesh.until(lambda: status(a).problems == [])


async def test_what_is_missing_is_told_in_one_line(mesh, autojump_clock):
    a, b, c = await started(mesh)
    a.openvpn.stop()
    await b.crash()
    await mesh.until(lambda: states(a) == {"B": "down", "C": "up"})
    assert not status(a).well
    assert status_line(a.daemon) == (
        "0 clients, 1 route; waiting for openvpn (waiting), peer B (down)"
    )
    assert status_line(c.daemon) == "0 clients, 1 route; waiting for peer B (down)"
