"""A running daemon takes over another configuration."""

from __future__ import annotations

import pytest
import trio

from cuberouted.config import parse
from cuberouted.daemon.daemon import ReloadError
from cuberouted.openvpn.management_source import LEAVE_TIMEOUT
from tests.fakes.server import section_of
from tests.unit.daemon.meshes import (
    AT_ONCE,
    HOST1,
    HOST2,
    NOTHING,
    deletions,
    sessions,
    started,
    states,
    status,
    two_server_form,
)


async def test_a_peer_that_is_added_by_a_reload_is_heard_and_the_others_notice_nothing(
    mesh, autojump_clock
):
    a, b, c = mesh.add("A"), mesh.add("B"), mesh.add("C")
    a.sections, c.sections = [section_of(b)], [section_of(b)]
    await mesh.start()
    c.connect("host1", HOST1)
    a.connect("host2", HOST2)
    await mesh.until(lambda: b.clients == {HOST1: "C", HOST2: "A"})
    before, began = sessions(a), trio.current_time()
    a.sections = c.sections = None
    await a.reload()
    await c.reload()
    await mesh.until(lambda: (a.clients, c.clients) == ({HOST1: "C"}, {HOST2: "A"}))
    assert sessions(a).items() > before.items()
    assert deletions(a, began) == []


async def test_the_routes_of_a_peer_that_is_removed_by_a_reload_go_at_once(mesh, autojump_clock):
    a, b, c = await started(mesh)
    b.connect("host1", HOST1)
    c.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST1: "B", HOST2: "C"})
    before = sessions(a)
    a.sections = [section_of(c)]
    await a.reload()
    assert a.clients == {HOST2: "C"}
    assert sessions(a) == {"C": before["C"]}
    assert await mesh.until(lambda: a.routes == {HOST2: "C", c.data_address: "C"}) < AT_ONCE
    a.sections = None
    await a.reload()
    await mesh.until(lambda: a.clients == {HOST1: "B", HOST2: "C"})
    await mesh.until(mesh.is_up)


async def test_a_changed_peer_is_a_new_session_that_keeps_its_routes_meanwhile(
    mesh, autojump_clock
):
    a, b, c = await started(mesh)
    b.connect("host1", HOST1)
    await mesh.until(lambda: a.clients == {HOST1: "B"})
    before, began = sessions(a), trio.current_time()
    a.sections = [section_of(b) + f"\ndata_ip = {b.data_address}", section_of(c)]
    await a.reload()
    await mesh.until(mesh.is_up)
    assert sessions(a)["C"] == before["C"]
    assert sessions(a)["B"] != before["B"]
    assert a.clients == {HOST1: "B"}
    assert deletions(a, began) == []


async def test_a_configured_data_address_is_routed_whether_or_not_its_daemon_runs(
    mesh, autojump_clock
):
    a, b = mesh.add("A"), mesh.add("B")
    a.sections = [section_of(b) + f"\ndata_ip = {b.data_address}"]
    await a.start()
    assert await mesh.until(lambda: a.routes == {b.data_address: "B"}) < AT_ONCE
    await trio.sleep(100)
    assert a.routes == {b.data_address: "B"}
    a.sections = None
    await a.reload()
    assert await mesh.until(lambda: a.routes == {}) < AT_ONCE


async def test_a_reload_of_hold_time_reaches_the_connections_and_no_route_is_lost(
    mesh, autojump_clock
):
    a, b, c = await started(mesh)
    b.connect("host1", HOST1)
    await mesh.until(lambda: a.clients == {HOST1: "B"})
    since = trio.current_time()
    for server in (a, b, c):
        server.settings += ["heartbeat_interval = 100 ms", "hold_time = 300 ms"]
        await server.reload()
        b.connect(f"host {server.name}", f"10.100.100.{20 + server.number}")
    await mesh.until(lambda: len(a.clients) == 4)
    await trio.sleep(2)
    assert states(a)["B"] == "up"
    assert (a.transport.hold_time, deletions(a, since), deletions(b, since)) == (0.3, [], [])
    mesh.network.partition(a.address, b.address)
    assert await mesh.until(lambda: a.clients == {}) <= 0.3 + AT_ONCE


async def test_an_openvpn_is_added_and_removed_by_a_reload(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    a.openvpns["one"] = a.openvpns.pop("")
    a.sections = [section_of(b), "[openvpn one]"]
    await mesh.start()
    a.openvpns["one"].connect(b"host1", HOST1.encode())
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    a.kernel.add_tunnel("tun9")
    a.add_openvpn("two").connect(b"host2", HOST2.encode())
    a.sections += ["[openvpn two]\nmgmt_port = 5658\ndata_interface = tun9"]
    began = trio.current_time()
    await a.reload()
    await mesh.until(lambda: b.clients == {HOST1: "A", HOST2: "A"})
    await mesh.until(lambda: a.clients == {HOST1: "tun0", HOST2: "tun9"})
    assert deletions(b, began) == []
    del a.sections[1]
    await a.reload()
    await mesh.until(lambda: b.clients == {HOST2: "A"})
    assert [row.name for row in status(a).openvpn] == ["two"]
    await mesh.until(lambda: a.clients == {})


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("route_table = 100", "route_table"),
        ("route_metric = 100", "route_metric"),
        ("route_protocol = 202", "route_protocol"),
        ("cube_routed_port = 5658", "cube_routed_port"),
        ("control_socket = /run/other.sock", "control_socket"),
    ],
)
async def test_a_reload_that_needs_a_restart_is_refused_as_a_whole(mesh, autojump_clock, line, key):
    a, _, c = await started(mesh)
    before, config = sessions(a), a.daemon.config
    a.settings, a.sections = [line], [section_of(c)]
    with pytest.raises(ReloadError, match=f"^{key}: a change needs a restart; nothing is reloaded"):
        await a.reload()
    assert (sessions(a), a.daemon.config) == (before, config)


async def test_a_reload_that_renames_the_node_is_refused(mesh, autojump_clock):
    a, *_ = await started(mesh)
    text = "node = Z\ndata_interface = tun0\nmgmt_interface = to-B\nremote_mgmt_ip = 10.1.1.1\n"
    with pytest.raises(ReloadError, match=r"^node: a change needs a restart"):
        await a.daemon.reload(parse(text, a.config.path, "Z"))
    await trio.sleep(5)
    assert mesh.is_up()


async def test_a_reload_during_the_start_counts(mesh, autojump_clock, nursery):
    a, b = mesh.add("A"), mesh.add("B")
    await b.start()
    a.sections = two_server_form(b)
    nursery.start_soon(a.start)
    for _ in range(2):  # it is about to read the kernel
        await trio.lowlevel.checkpoint()
    assert states(a) == {}
    a.sections = None
    await a.reload()
    await mesh.until(lambda: states(a) == {"B": "up"})


async def test_a_reload_during_the_end_changes_nothing(mesh, autojump_clock):
    a, b, c = await started(mesh)
    a.sections = [section_of(c)]
    a.daemon.stop()
    with pytest.raises(ReloadError, match="stopping"):
        await a.reload()
    await a.stop()
    assert a.kernel.installed == NOTHING
    assert await mesh.until(lambda: states(b)["A"] == states(c)["A"] == "down") < AT_ONCE


async def test_a_crash_during_a_reload_starts_nothing_more(mesh, autojump_clock, nursery):
    a, _ = await started(mesh, "AB")
    a.openvpn.fall_silent()  # so its connection takes a while to end
    a.settings += ("openvpn_mgmt_port = 5700",)
    nursery.start_soon(a.reload)
    await trio.sleep(LEAVE_TIMEOUT / 2)
    await a.crash()
    await trio.sleep(LEAVE_TIMEOUT)


async def test_superseded_sessions_are_dropped_once_a_reload_allows_it(mesh, autojump_clock):
    a, b = mesh.add("A", "kill_superseded_sessions = no"), mesh.add("B")
    await mesh.start()
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    b.connect("host1", HOST1)
    await mesh.until(lambda: a.routes.get(HOST1) == "B")
    await trio.sleep(10)
    assert b'kill "host1"' not in a.openvpn.asked
    a.settings = ("kill_superseded_sessions = yes",)
    await a.reload()
    await mesh.until(lambda: b'kill "host1"' in a.openvpn.asked)


async def test_a_reload_changes_the_pace_and_keeps_the_connection_to_openvpn(mesh, autojump_clock):
    a, _ = await started(mesh, "AB")
    connections, before = a.openvpn.connections, len(a.openvpn.asked)
    a.settings += ("poll_interval = 1h", "status_interval = 1h")
    await a.reload()
    await trio.sleep(600)
    assert a.openvpn.connections == connections
    assert len(a.openvpn.asked) - before <= 5


async def test_a_changed_openvpn_keeps_its_clients_until_it_is_listed_again(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    began = trio.current_time()
    a.settings += ("openvpn_mgmt_port = 5700",)
    await a.reload()
    await mesh.until(lambda: status(a).openvpn[0].state == "connected")
    await trio.sleep(2 * a.config.hold_time)
    assert b.clients == {HOST1: "A"}
    assert deletions(b, began) == []


async def test_a_changed_openvpn_that_is_not_there_withdraws_its_clients_after_the_hold_time(
    mesh, autojump_clock
):
    a, b = await started(mesh, "AB")
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    a.openvpn.stop()
    a.settings += ("openvpn_mgmt_port = 5700",)
    await a.reload()
    took = await mesh.until(lambda: b.clients == {})
    assert a.config.hold_time <= took <= a.config.hold_time + 1
