"""Events of a whole mesh on fake parts: what each node's ring has."""

from __future__ import annotations

import pytest
import trio

from cuberouted.daemon.client_tracker import GRACE
from cuberouted.events import (
    ClientJoined,
    ClientKilled,
    ClientMoved,
    Event,
    Level,
    RouteChanged,
    RouteTrace,
)
from tests.fakes.mesh import Mesh
from tests.unit.daemon.meshes import started


@pytest.fixture
def mesh(nursery):
    return Mesh(nursery)


def events(server) -> list[Event]:
    return list(server.daemon.events.after(0, limit=100_000))


def sentences(server) -> list[str]:
    """What the log has about the client, but for the sessions that were killed."""
    return [
        str(e)
        for e in events(server)
        if "10.100.100.14" in str(e) and e.level != Level.DEBUG and not isinstance(e, ClientKilled)
    ]


def traces(server) -> list[str]:
    return [str(e) for e in events(server) if isinstance(e, RouteChanged) and "100.14" in e.address]


async def test_a_roam_is_one_event_on_every_node(mesh, autojump_clock):
    a, b, c = await started(mesh)
    b.connect("host2", "10.100.100.14")
    await trio.sleep(5)
    c.connect("host2", "10.100.100.14")
    await trio.sleep(20)
    for server in (a, b, c):
        joined, moved = sentences(server)
        assert joined.startswith("host2 (10.100.100.14) joined at B")
        assert moved.startswith("host2 (10.100.100.14) moved B -> C")
    killed = {s.name: [e.why for e in events(s) if isinstance(e, ClientKilled)] for s in (a, b, c)}
    assert killed == {"A": [], "B": ["superseded by one on C"], "C": []}
    assert traces(a) == ["route 10.100.100.14 added to B", "route 10.100.100.14 moved to C"]
    assert traces(c) == ["route 10.100.100.14 added to B", "route 10.100.100.14 removed"]


async def test_the_time_to_the_kernel_is_measured_where_a_route_is_installed(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", "10.100.100.14")
    await trio.sleep(5)
    (there,) = (e for e in events(b) if isinstance(e, ClientJoined))
    (here,) = (e for e in events(a) if isinstance(e, ClientJoined))
    assert there.routed_after is None  # OpenVPN's own route leads to it
    assert here.routed_after is not None
    assert 0 <= here.routed_after < 0.1


async def test_a_lost_peer_s_clients_leave_with_the_reason(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", "10.100.100.14")
    await trio.sleep(5)
    await b.crash()
    await trio.sleep(3 + GRACE + 1)
    assert sentences(a)[-1].startswith("host2 (10.100.100.14) left B: peer B: nothing received")
    assert traces(a)[-1] == "route 10.100.100.14 removed"


async def test_a_restart_adopts_the_routes_and_finds_the_clients(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", "on_exit = keep")
    b.connect("host2", "10.100.100.14")
    await trio.sleep(60)
    await a.stop()
    await a.start()
    await trio.sleep(60)
    assert traces(a) == ["route 10.100.100.14 adopted to B"]
    assert sentences(a) == ["host2 (10.100.100.14) found at B"]
    assert [e.number for e in events(a)] == list(range(1, len(events(a)) + 1))


async def test_two_clients_on_one_address_are_a_conflict_until_one_leaves(mesh, autojump_clock):
    a, b, c = await started(mesh)
    b.connect("host2", "10.100.100.14")
    await trio.sleep(5)
    c.connect("other", "10.100.100.14")
    await trio.sleep(5)
    conflict = (
        "10.100.100.14 has two clients: other at C and host2 at B: their address pools overlap"
    )
    assert sentences(a).count(conflict) == 1
    b.openvpn.clients.clear()
    await trio.sleep(60)
    assert sentences(a).count("10.100.100.14 has one client again") == 1


async def test_nothing_is_published_when_nothing_happens(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", "10.100.100.14")
    await trio.sleep(60)
    before = a.daemon.events.last
    await trio.sleep(3600)
    assert a.daemon.events.last == before


async def test_a_route_that_another_program_deletes_is_traced(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", "10.100.100.14")
    await trio.sleep(5)
    a.kernel.remove_route("10.100.100.14/32", 50, protocol=201)
    await trio.sleep(5)
    kinds = [e.trace for e in events(a) if isinstance(e, RouteChanged) and "100.14" in e.address]
    assert kinds == [RouteTrace.ADDED, RouteTrace.REMOVED, RouteTrace.ADDED]
    assert not [e for e in events(a) if isinstance(e, ClientMoved)]
