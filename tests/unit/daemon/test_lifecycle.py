"""Daemons end, crash and start again; what is around them fails and comes back."""

from __future__ import annotations

import errno

import pytest
import trio

from cuberouted.daemon.snapshot import status_line
from cuberouted.events import GracefulRestartOrdered, PeerStateChanged
from cuberouted.model import format_address
from cuberouted.peering.transport import BindProblem
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.types import Op, Route
from tests.fakes.api import call
from tests.fakes.server import section_of
from tests.unit.daemon.meshes import (
    AT_ONCE,
    HOST1,
    HOST2,
    HOST3,
    NOTHING,
    deletions,
    started,
    states,
    status,
    two_server_form,
)


async def order_graceful_restart(server, within):
    body = b'{"within": %d}' % within
    await call(server.endpoints, "POST", "/v1/graceful-restart", body)


async def test_a_daemon_that_ends_leaves_nothing_behind_here_or_there(mesh, autojump_clock):
    a, b, c = await started(mesh)
    a.connect("host1", HOST1)
    b.connect("host2", HOST2)
    await mesh.until(lambda: (b.clients, c.clients) == ({HOST1: "A"}, {HOST1: "A", HOST2: "B"}))
    await b.stop()
    assert b.kernel.installed == NOTHING
    assert await mesh.until(lambda: "B" not in {*a.routes.values(), *c.routes.values()}) < AT_ONCE
    assert c.clients == {HOST1: "A"}


async def test_routes_that_the_kernel_does_not_let_go_are_its_last_words(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "B"})
    a.kernel.broken = KernelError("out of memory", errno.ENOMEM)
    await a.stop()
    assert a.stop_error == "out of memory"
    assert a.clients == {HOST2: "B"}


async def test_with_on_exit_keep_a_restart_changes_no_route_anywhere(mesh, autojump_clock):
    async def prepare(_server) -> None:
        pass

    await restart_b(mesh, await started(mesh, "ABC", "on_exit = keep"), prepare)


async def test_a_graceful_restart_changes_no_route_anywhere(mesh, autojump_clock):
    async def prepare(server) -> None:
        await order_graceful_restart(server, within=60)
        await trio.sleep(59)

    await restart_b(mesh, await started(mesh), prepare)


async def restart_b(mesh, servers, prepare) -> None:
    """Stop B after *prepare* and start it later: no route changes on any server."""
    a, b, c = servers
    a.connect("host1", HOST1)
    b.connect("host2", HOST2)
    await mesh.until(lambda: (b.clients, c.clients) == ({HOST1: "A"}, {HOST1: "A", HOST2: "B"}))
    before, began = [server.routes for server in mesh.servers], trio.current_time()
    await prepare(b)
    await b.stop()
    await mesh.until(lambda: states(a)["B"] == "restarting")
    await trio.sleep(10)
    assert [server.routes for server in mesh.servers] == before
    await b.start()
    await mesh.until(mesh.is_up)
    assert [server.routes for server in mesh.servers] == before
    assert [d for s in mesh.servers for d in deletions(s, began)] == []


async def test_the_order_of_a_graceful_restart_ends_by_itself(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "B"})
    await order_graceful_restart(b, within=60)
    assert status(b).keeps_routes_for == pytest.approx(60, abs=AT_ONCE)
    await trio.sleep(61)
    assert status(b).keeps_routes_for is None
    await b.stop()
    assert b.kernel.installed == NOTHING
    assert await mesh.until(lambda: a.clients == {}) < AT_ONCE


async def test_the_order_of_a_graceful_restart_is_for_one_stop(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "B"})
    await order_graceful_restart(b, within=3600)
    await b.stop()
    await b.start()
    await mesh.until(mesh.is_up)
    assert status(b).keeps_routes_for is None
    await b.stop()
    assert await mesh.until(lambda: a.clients == {}) < AT_ONCE


async def test_a_graceful_restart_is_revoked(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "B"})
    await order_graceful_restart(b, within=60)
    await order_graceful_restart(b, within=0)
    kept = b.daemon.events.after(0, 1000)
    told = [str(event) for event in kept if isinstance(event, GracefulRestartOrdered)]
    assert told == [
        "graceful restart ordered by root: a stop within 60 s keeps the routes",
        "graceful restart revoked by root",
    ]
    await b.stop()
    assert await mesh.until(lambda: a.clients == {}) < AT_ONCE


async def test_the_moment_of_the_stop_decides_not_the_end_of_it(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "B"})
    await order_graceful_restart(b, within=60)
    b.daemon.stop()
    b.daemon.exit_policy.order(0, "root")
    b.daemon.stop()
    await mesh.until(lambda: states(a)["B"] == "restarting")
    assert a.clients == {HOST2: "B"}


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
    changed = [done.change for done in b.kernel.applied if done.at >= began]
    assert [(c.op, str(c.what.prefix)) for c in changed if isinstance(c.what, Route)] == [
        (Op.DELETE, f"{HOST2}/32")
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
    assert status_line(a.daemon) == "0 clients, 0 routes; waiting for tun0, to-B"
    a.kernel.add_tunnel("to-B")
    a.kernel.add_address("to-B", "10.200.200.1 peer 10.200.200.2/32")
    a.kernel.add_tunnel("tun0")
    a.kernel.add_address("tun0", "10.100.100.101/24")
    await mesh.until(lambda: a.routes == {HOST1: "B", "10.100.100.102": "B"})
    await mesh.until(mesh.is_up)
    await mesh.until(lambda: not status(a).problems)
    assert status_line(a.daemon) == "0 clients, 2 routes"


# -- what may be wrong around it --


async def test_prefixes_that_the_policy_refuses_are_told_as_long_as_they_stand(
    mesh, autojump_clock
):
    a, b = mesh.add("A"), mesh.add("B", "allowed_networks = 10.100.100.0/24, 10.9.0.0/16")
    await mesh.start()
    b.connect("host1", HOST1)
    cid = b.connect("host2", "10.9.0.1")
    text = "peer B: 1 prefix refused, last 10.9.0.1: outside allowed_networks"
    await mesh.until(lambda: status(a).problems == [text])
    assert (status(a).peers[0].refused_prefixes, status(a).well) == (1, False)
    b.openvpn.disconnect(cid)
    await mesh.until(lambda: not status(a).problems)
    assert (status(a).peers[0].refused_prefixes, status(a).well) == (0, True)


async def test_own_prefixes_that_the_policy_refuses_are_told_with_the_cure(mesh, autojump_clock):
    a, _ = mesh.add("A"), mesh.add("B")
    await mesh.start()
    cid = a.connect("host1", "10.9.0.1")
    text = (
        "openvpn: not shared: 1 prefix refused, last 10.9.0.1: outside allowed_networks; if clients"
        " use it, add it there on every server"
    )
    await mesh.until(lambda: status(a).problems == [text])
    await mesh.until(lambda: status(a).openvpn[0].counted == 1)
    a.openvpn.disconnect(cid)
    await mesh.until(lambda: status(a).well)


async def test_a_peer_without_a_configured_name_has_one_name_in_events_and_status(
    mesh, autojump_clock
):
    a, b = mesh.add("A"), mesh.add("B")
    for server, other in ((a, b), (b, a)):
        server.sections = two_server_form(other)
    await mesh.start()
    (row,) = status(a).peers
    assert row.known_as == f"B ({format_address(b.address)})"
    change = next(e for e in a.daemon.events.after(0) if isinstance(e, PeerStateChanged))
    assert (change.peer, change.known_as) == (format_address(b.address), row.known_as)
    assert str(change) == f"peer {row.known_as}: down -> syncing, waiting for its snapshot"


async def test_an_address_on_which_it_cannot_listen_is_shown_until_it_can(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    mesh.network.port_in_use[a.address] = (
        "cannot listen on tcp://10.200.200.1:5657: the port is in use"
    )
    await a.start()
    await b.start()
    await trio.sleep(20)
    assert status(a).problems == [mesh.network.port_in_use[a.address]]
    assert a.daemon.bind_problems == (BindProblem(a.address, mesh.network.port_in_use[a.address]),)
    assert states(b) == {"A": "down"}
    del mesh.network.port_in_use[a.address]
    assert status(a).problems == []
    await mesh.until(mesh.is_up)


async def test_a_kernel_that_cannot_be_read_at_the_start_ends_the_daemon(mesh, autojump_clock):
    a = mesh.add("A")
    mesh.add("B")
    a.kernel.broken = KernelError("no buffer space")
    # as it is from trio 0.25 on, in a group before
    error = pytest.RaisesExc(KernelError, match="no buffer space")
    with pytest.RaisesGroup(error, allow_unwrapped=True):
        await a.start()


async def test_a_kernel_that_fails_later_ends_nothing(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    a.kernel.broken = KernelError("no buffer space")
    for number in range(3):
        b.connect(f"host{number}", f"10.100.100.{number + 1}")
        await trio.sleep(1)
    await trio.sleep(100)
    assert states(a) == {"B": "up", "C": "up"}
    told = [e for e in a.daemon.events.after(0) if "no buffer space" in str(e)]
    assert 0 < len(told) < 10
    a.kernel.broken = None
    await mesh.until(lambda: len(a.clients) == 3)


async def test_a_peer_with_our_own_name_is_refused_and_both_names_are_shown(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    for server, other in ((a, b), (b, a)):
        server.sections = two_server_form(other)
    b.node = "A"
    b.connect("host1", HOST1)
    await a.start()
    await b.start()
    await trio.sleep(5)
    assert a.routes == {}
    (peer,) = status(a).peers
    assert (peer.name, peer.state, peer.detail) == (
        "A",
        "down",
        "announces this node's own name, 'A'",
    )


async def test_a_refused_peer_does_not_take_the_name_it_announces_from_its_owner(
    mesh, autojump_clock
):
    a, b, c = mesh.add("A"), mesh.add("B"), mesh.add("C")
    a.sections = [section_of(b), section_of(c)]
    b.sections = c.sections = [section_of(a)]
    c.node = "B"  # a host cloned from B
    await a.start()
    await c.start()
    await mesh.until(lambda: "announces the name 'B'" in status(a).peers[1].detail)
    b.connect("host2", HOST2)
    await b.start()
    await mesh.until(lambda: states(a)["B"] == "up")
    assert a.clients == {HOST2: "B"}
