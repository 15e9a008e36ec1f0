"""The real daemon, several of it, on fakes and in no real time."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from cuberouted.answers import waiting_for
from cuberouted.config import parse
from cuberouted.daemon import REBIND_AFTER, ReloadError
from cuberouted.model import written
from cuberouted.report import Clients, Owners, Status
from cuberouted.routing.port import KernelError
from cuberouted.routing.values import Installed, Route, Verb
from cuberouted.sharing.port import BindProblem
from tests.fakes.mesh import Mesh
from tests.fakes.server import START, section_of

HOST1, HOST2, HOST3 = "10.100.100.11", "10.100.100.12", "10.100.100.13"
AT_ONCE = 0.1
NOTHING = Installed(nexthops={}, routes={}, strays=())


@pytest.fixture
def mesh(nursery, autojump_clock):
    return Mesh(nursery)


async def started(mesh, names="ABC", *settings):
    for name in names:
        mesh.add(name, *settings)
    await mesh.start()
    return [mesh[name] for name in names]


def deletions(server, since):
    return [d for d in server.kernel.done if d.at >= since and d.change.verb is Verb.DELETE]


def status(server) -> Status:
    found = server.answers["status"]()
    assert isinstance(found, Status)
    return found


def routed_to(server, others, host=HOST1):
    return all(other.clients == {host: server.name} for other in others)


def states(server):
    return {peer.name: peer.state for peer in status(server).peers}


def two_server_form(peer):
    """What names the only peer where there are no sections."""
    return [f"mgmt_interface = to-{peer.name}", f"remote_mgmt_ip = {written(peer.address)}"]


def session_numbers(server):
    return {label: id(peer.session) for label, peer in server.daemon.peers.items()}


# -- clients come, go, and move --


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
    assert c.kernel.journey(HOST1) == ["to-A", "to-B", "to-A"]
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


# -- daemons end, and start again --


async def test_a_daemon_that_ends_leaves_nothing_behind_here_or_there(mesh, autojump_clock):
    a, b, c = await started(mesh)
    a.connect("host1", HOST1)
    b.connect("host2", HOST2)
    await mesh.until(lambda: (b.clients, c.clients) == ({HOST1: "A"}, {HOST1: "A", HOST2: "B"}))
    await b.stop()
    assert b.kernel.installed == NOTHING
    assert await mesh.until(lambda: "B" not in {*a.routes.values(), *c.routes.values()}) < AT_ONCE
    assert c.clients == {HOST1: "A"}


async def test_with_on_exit_keep_a_restart_changes_no_route_anywhere(mesh, autojump_clock):
    a, b, c = await started(mesh, "ABC", "on_exit = keep")
    a.connect("host1", HOST1)
    b.connect("host2", HOST2)
    await mesh.until(lambda: (b.clients, c.clients) == ({HOST1: "A"}, {HOST1: "A", HOST2: "B"}))
    before, began = [server.routes for server in mesh.servers], trio.current_time()
    await b.stop()
    await mesh.until(lambda: states(a)["B"] == "restarting")
    await trio.sleep(10)
    assert [server.routes for server in mesh.servers] == before
    await b.start()
    await mesh.until(mesh.is_up)
    assert [server.routes for server in mesh.servers] == before
    assert [d for s in mesh.servers for d in deletions(s, began)] == []


async def test_a_restart_that_never_ends_is_given_up(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", "on_exit = keep", "restart_time = 20 s")
    b.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "B"})
    await b.stop()
    assert await mesh.until(lambda: a.clients == {}) == pytest.approx(20, abs=AT_ONCE)


async def test_after_a_crash_the_routes_are_adopted_and_none_that_is_right_is_touched(
    mesh, autojump_clock
):
    a, b, c = await started(mesh)
    a.connect("host1", HOST1)
    gone = a.connect("host2", HOST2)
    c.connect("host3", HOST3)
    await mesh.until(lambda: b.clients == {HOST1: "A", HOST2: "A", HOST3: "C"})
    b.connect("here", "10.100.100.20")
    before = b.kernel.installed
    await b.crash()
    assert b.kernel.installed == before
    a.openvpn.disconnect(gone)
    began = trio.current_time()
    await b.start()
    assert b.kernel.installed == before
    await mesh.until(lambda: b.clients == {HOST1: "A", HOST3: "C"})
    await mesh.until(mesh.is_up)
    changed = [done.change for done in b.kernel.done if done.at >= began]
    assert [(c.verb, str(c.what.prefix)) for c in changed if isinstance(c.what, Route)] == [
        (Verb.DELETE, f"{HOST2}/32")
    ]
    assert len(changed) == 1
    assert a.clients == {HOST3: "C", "10.100.100.20": "B"}


async def test_adopted_routes_of_a_peer_that_is_away_go_after_the_hold_time(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    await b.crash()
    await a.crash()
    await b.start()
    began = trio.current_time()
    await mesh.until(lambda: b.clients == {})
    assert trio.current_time() - began == pytest.approx(b.config.hold_time, abs=AT_ONCE)


async def test_adopted_routes_of_a_peer_that_is_no_longer_configured_go_at_once(
    mesh, autojump_clock
):
    a, b, c = await started(mesh)
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    await b.crash()
    b.sections = [section_of(c)]
    await b.start()
    assert await mesh.until(lambda: "A" not in b.routes.values()) < AT_ONCE


async def test_a_crashed_server_s_routes_go_after_the_hold_time(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    await a.crash()
    assert await mesh.until(lambda: b.routes.get(HOST1) is None) <= b.config.hold_time + AT_ONCE


async def test_a_partition_withdraws_and_its_end_brings_back(mesh, autojump_clock):
    a, b, c = await started(mesh)
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == c.clients == {HOST1: "A"})
    mesh.network.partition(a.address, b.address)
    await mesh.until(lambda: b.clients == {})
    assert (c.clients, states(b)) == ({HOST1: "A"}, {"A": "down", "C": "up"})
    mesh.network.heal(a.address, b.address)
    await mesh.until(lambda: b.clients == {HOST1: "A"})


async def test_nobody_waits_longer_than_the_hold_time_for_a_node_without_its_openvpn(
    mesh, autojump_clock
):
    a, b = mesh.add("A"), mesh.add("B")
    a.openvpn.fall_silent()
    await a.start()
    await b.start()
    await mesh.until(lambda: states(b) == {"A": "syncing"})
    assert await mesh.until(mesh.is_up) == pytest.approx(a.config.hold_time, abs=1)
    assert b.clients == {}
    a.connect("host1", HOST1, quiet=True)
    a.openvpn.wake_up()
    assert await mesh.until(lambda: b.clients == {HOST1: "A"}) < AT_ONCE


async def test_clients_of_an_openvpn_that_has_gone_are_kept_for_the_hold_time(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    a.openvpn.stop()
    took = await mesh.until(lambda: b.clients == {})
    assert took == pytest.approx(a.config.hold_time, abs=AT_ONCE)
    assert not status(a).well
    a.openvpn.start()
    a.connect("host1", HOST1)
    await mesh.until(lambda: b.clients == {HOST1: "A"})
    assert status(a).well


async def test_a_daemon_may_be_there_before_its_interfaces(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    for name in ("tun0", "to-B"):
        a.kernel.remove_link(name)
    await a.start()
    await b.start()
    b.connect("host1", HOST1)
    await trio.sleep(5)
    assert a.routes == {}
    assert status(a).problems == ["waiting for interface tun0, to-B"]
    assert waiting_for(a.daemon) == "0 clients, 0 routes; waiting for tun0, to-B"
    a.kernel.add_tunnel("to-B")
    a.kernel.add_address("to-B", "10.200.200.1 peer 10.200.200.2/32")
    a.kernel.add_tunnel("tun0")
    a.kernel.add_address("tun0", "10.100.100.101/24")
    await mesh.until(lambda: a.routes == {HOST1: "B", "10.100.100.102": "B"})
    await mesh.until(mesh.is_up)
    await mesh.until(lambda: not status(a).problems)
    assert waiting_for(a.daemon) == "0 clients, 2 routes"


# -- reload --


async def test_a_peer_that_is_added_by_a_reload_is_heard_and_the_others_notice_nothing(
    mesh, autojump_clock
):
    a, b, c = mesh.add("A"), mesh.add("B"), mesh.add("C")
    a.sections, c.sections = [section_of(b)], [section_of(b)]
    await mesh.start()
    c.connect("host1", HOST1)
    a.connect("host2", HOST2)
    await mesh.until(lambda: b.clients == {HOST1: "C", HOST2: "A"})
    sessions, began = session_numbers(a), trio.current_time()
    a.sections = c.sections = None
    await a.reload()
    await c.reload()
    await mesh.until(lambda: (a.clients, c.clients) == ({HOST1: "C"}, {HOST2: "A"}))
    assert session_numbers(a).items() > sessions.items()
    assert deletions(a, began) == []


async def test_the_routes_of_a_peer_that_is_removed_by_a_reload_go_at_once(mesh, autojump_clock):
    a, b, c = await started(mesh)
    b.connect("host1", HOST1)
    c.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST1: "B", HOST2: "C"})
    sessions = session_numbers(a)
    a.sections = [section_of(c)]
    await a.reload()
    assert a.clients == {HOST2: "C"}
    assert session_numbers(a) == {"C": sessions["C"]}
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
    sessions, began = session_numbers(a), trio.current_time()
    a.sections = [section_of(b) + f"\ndata_ip = {b.data_address}", section_of(c)]
    await a.reload()
    await mesh.until(mesh.is_up)
    assert session_numbers(a)["C"] == sessions["C"]
    assert session_numbers(a)["B"] != sessions["B"]
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


async def test_times_are_taken_over_by_a_reload(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host1", HOST1)
    await mesh.until(lambda: a.clients == {HOST1: "B"})
    for server in (a, b):
        server.settings += ["heartbeat_interval = 100 ms", "hold_time = 300 ms"]
        await server.reload()
    await trio.sleep(2)
    assert states(a)["B"] == "up"
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
    sessions, config = session_numbers(a), a.daemon.config
    a.settings, a.sections = [line], [section_of(c)]
    with pytest.raises(ReloadError, match=f"^{key}: a change needs a restart; nothing is reloaded"):
        await a.reload()
    assert (session_numbers(a), a.daemon.config) == (sessions, config)


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
    with pytest.raises(ReloadError, match="ending"):
        await a.reload()
    await a.stop()
    assert a.kernel.installed == NOTHING
    assert await mesh.until(lambda: states(b)["A"] == states(c)["A"] == "down") < AT_ONCE


# -- what may be wrong around it --


async def test_an_address_that_cannot_be_listened_on_is_shown_and_tried_again(
    mesh, autojump_clock, caplog
):
    a, b = mesh.add("A"), mesh.add("B")
    mesh.network.taken[a.address] = "cannot listen on tcp://10.200.200.1:5657: the port is in use"
    await a.start()
    await b.start()
    await trio.sleep(20 * REBIND_AFTER)
    assert status(a).problems == [mesh.network.taken[a.address]]
    assert a.daemon.bind_problems == (BindProblem(a.address, mesh.network.taken[a.address]),)
    assert states(b) == {"A": "down"}
    told = [record for record in caplog.records if "in use; trying again" in record.message]
    assert len(told) == 1
    del mesh.network.taken[a.address]
    assert await mesh.until(lambda: status(a).problems == []) <= REBIND_AFTER + AT_ONCE
    await mesh.until(mesh.is_up)


async def test_a_kernel_that_cannot_be_read_at_the_start_ends_the_daemon(mesh, autojump_clock):
    a = mesh.add("A")
    mesh.add("B")
    a.kernel.broken = KernelError("no buffer space")
    with pytest.raises(KernelError, match="no buffer space"):
        await a.start()


async def test_a_kernel_that_fails_later_ends_nothing(mesh, autojump_clock, caplog):
    a, b, _ = await started(mesh)
    a.kernel.broken = KernelError("no buffer space")
    for number in range(3):
        b.connect(f"host{number}", f"10.100.100.{number + 1}")
        await trio.sleep(1)
    await trio.sleep(100)
    assert states(a) == {"B": "up", "C": "up"}
    told = [record for record in caplog.records if "no buffer space" in record.message]
    assert 0 < len(told) < 10
    a.kernel.broken = None
    await mesh.until(lambda: len(a.clients) == 3)


async def test_a_peer_with_our_own_name_is_refused_and_both_names_are_shown(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    for server, other in ((a, b), (b, a)):
        server.sections = two_server_form(other)
    b.name = "A"
    b.connect("host1", HOST1)
    await a.start()
    await b.start()
    await trio.sleep(5)
    assert a.routes == {}
    (peer,) = status(a).peers
    assert (peer.name, peer.state, peer.detail) == ("A", "down", "announces our own name, 'A'")


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

    clients = a.answers["clients"]()
    assert isinstance(clients, Clients)
    since = "2026-11-21T00:49:00Z"
    assert START == 1_795_222_140
    assert [(c.address, c.node, c.name, c.kind, c.since, c.local) for c in clients.clients] == [
        (HOST1, "A", "host1", "client", since, True),
        (HOST2, "B", "j\\xfcrg \\x01", "client", since, False),
    ]

    owners = a.answers["owners"]()
    assert isinstance(owners, Owners)
    assert (owners.node, list(owners.owners)) == ("A", ["10.100.100.102/32", f"{HOST2}/32"])
    owner = owners.owners[f"{HOST2}/32"]
    assert (owner.node, owner.kind, owner.name) == ("B", "client", "j\\xfcrg \\x01")
    assert owner.age == pytest.approx(60, abs=1)
    assert waiting_for(a.daemon) == "1 client, 2 routes"


async def test_a_route_of_somebody_else_is_left_alone_and_counted(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    a.kernel.add_route(f"{HOST1}/32", "to-B", metric=50)
    a.kernel.add_route(f"{HOST2}/32", "to-B", metric=10)
    b.connect("host1", HOST1)
    b.connect("host2", HOST2)
    await mesh.until(lambda: status(a).routes.conflicts == 2)
    assert a.clients == {HOST2: "B"}
    assert status(a).problems == [
        f"route {HOST1}/32: a route of somebody else has metric 50",
        f"route {HOST2}/32: shadowed by a route of protocol 4 with metric 10",
    ]
    a.kernel.remove_route(f"{HOST1}/32", metric=50)
    a.kernel.remove_route(f"{HOST2}/32", metric=10)
    await mesh.until(lambda: a.clients == {HOST1: "B", HOST2: "B"})
    assert status(a).problems == []


async def test_what_is_missing_is_told_in_one_line(mesh, autojump_clock):
    a, b, c = await started(mesh)
    a.openvpn.stop()
    await b.crash()
    await mesh.until(lambda: states(a) == {"B": "down", "C": "up"})
    assert not status(a).well
    assert waiting_for(a.daemon) == (
        "0 clients, 1 route; waiting for openvpn (waiting), peer B (down)"
    )
    assert waiting_for(c.daemon) == "0 clients, 1 route; waiting for peer B (down)"


# -- the mesh itself --


def story(seed):
    """What happens in a mesh, to the microsecond."""

    async def main():
        async with trio.open_nursery() as nursery:
            mesh = Mesh(nursery, seed)
            a, b, c = await started(mesh)
            for number in range(20):
                server = mesh.random.choice(mesh.servers)
                server.connect(f"host{mesh.random.randrange(5)}", f"10.100.100.{number % 7 + 1}")
                await trio.sleep(mesh.random.random())
            await mesh.random.choice(mesh.servers).crash()
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
            return [(s.name, *done) for s in (a, b, c) for done in s.kernel.done]

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_the_same_seed_tells_the_same_story(caplog):
    caplog.set_level(logging.CRITICAL)
    assert story(1) == story(1)
    assert story(1) != story(2)
