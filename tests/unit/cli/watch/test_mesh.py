from __future__ import annotations

import msgspec

from cuberouted.api.report import ClientRow
from cuberouted.cli.watch.mesh import HIGHLIGHTED, MAX_EVENTS, Mesh, client_of
from cuberouted.events import (
    ClientJoined,
    ClientLeft,
    ClientMoved,
    ClientRenewed,
    EventsLost,
    RouteChanged,
    RouteTrace,
)

HOST1 = ClientRow("10.9.0.1", "A", "host1", "client", "2026-11-27T09:00:00Z", local=True)
HOST2 = ClientRow("10.9.0.2", "B", "host2", "client", "2026-11-27T09:00:00Z", local=False)


def joined(at="B"):
    return ClientJoined(address="10.9.0.2", client="host2", to_node=at, since=5, node="A")


def moved(to="C"):
    return ClientMoved(
        address="10.9.0.2", client="host2", from_node="B", to_node=to, since=7, node="A"
    )


def left(of="B"):
    return ClientLeft(address="10.9.0.2", client="host2", from_node=of, node="A")


def snapshot(mesh, *rows, now=0.0):
    mesh.finish_snapshot({row.address: client_of(row) for row in rows}, now)


def where(mesh):
    return {client.name: client.node for client in mesh.clients.values() if not client.gone}


def test_events_change_the_snapshot():
    mesh = Mesh()
    snapshot(mesh, HOST1)
    mesh.receive(joined(), 1.0)
    assert where(mesh) == {"host1": "A", "host2": "B"}
    mesh.receive(moved(), 2.0)
    assert where(mesh) == {"host1": "A", "host2": "C"}
    mesh.receive(moved(to="A"), 2.0)
    assert mesh.clients["10.9.0.2"].local
    mesh.receive(left(of="A"), 3.0)
    assert where(mesh) == {"host1": "A"}


def test_a_change_is_highlighted_for_a_few_seconds():
    mesh = Mesh()
    snapshot(mesh, HOST1, HOST2)
    assert not any(client.is_highlighted(0.0) for client in mesh.clients.values())
    mesh.receive(moved(), 10.0)
    client = mesh.clients["10.9.0.2"]
    assert (client.change, client.since) == ("moved from B", 7)
    assert client.is_highlighted(10.0 + HIGHLIGHTED - 0.1)
    assert not client.is_highlighted(10.0 + HIGHLIGHTED)
    mesh.receive(ClientRenewed(address="10.9.0.2", client="host2", to_node="C", since=8), 20.0)
    assert mesh.clients["10.9.0.2"].change == "reconnected"


def test_a_client_that_left_is_shown_for_a_few_seconds():
    mesh = Mesh()
    snapshot(mesh, HOST1, HOST2)
    mesh.receive(left(), 10.0)
    mesh.timer(10.0 + HIGHLIGHTED - 0.1)
    assert mesh.clients["10.9.0.2"].gone
    version = mesh.version
    mesh.timer(10.0 + HIGHLIGHTED)
    assert set(mesh.clients) == {"10.9.0.1"}
    assert mesh.version != version


def test_a_client_that_left_and_is_back_stays():
    mesh = Mesh()
    snapshot(mesh, HOST2)
    mesh.receive(left(), 10.0)
    mesh.receive(joined("C"), 11.0)
    mesh.timer(100.0)
    assert where(mesh) == {"host2": "C"}


def test_who_left_without_having_been_there_is_no_client():
    mesh = Mesh()
    snapshot(mesh, HOST1)
    mesh.receive(left(), 10.0)
    assert set(mesh.clients) == {"10.9.0.1"}


def test_events_during_a_snapshot_are_newer_than_it():
    mesh = Mesh()
    mesh.begin_snapshot()
    mesh.receive(joined(), 1.0)
    mesh.receive(moved(), 2.0)
    snapshot(mesh, HOST1, HOST2, now=3.0)  # it was at B when the daemon looked
    assert where(mesh) == {"host1": "A", "host2": "C"}
    mesh.begin_snapshot()
    mesh.receive(left(of="C"), 4.0)
    snapshot(mesh, HOST1, HOST2, now=5.0)
    assert where(mesh) == {"host1": "A"}
    mesh.begin_snapshot()
    snapshot(mesh, HOST1, HOST2, now=6.0)
    assert where(mesh) == {"host1": "A", "host2": "B"}


def test_a_snapshot_keeps_the_highlight_of_what_is_still_true():
    mesh = Mesh()
    mesh.receive(joined(), 1.0)
    snapshot(mesh, HOST2, now=2.0)
    assert mesh.clients["10.9.0.2"].is_highlighted(2.0)
    snapshot(mesh, msgspec.structs.replace(HOST2, node="C"), now=3.0)
    assert not mesh.clients["10.9.0.2"].is_highlighted(3.0)


def test_a_copy_does_not_change():
    mesh = Mesh()
    snapshot(mesh, HOST2)
    copy = mesh.copy()
    mesh.receive(moved(), 1.0)
    assert (where(copy), len(copy.events)) == ({"host2": "B"}, 0)
    assert (where(mesh), len(mesh.events)) == ({"host2": "C"}, 1)


def test_events_are_bounded_and_changes_of_routes_are_not_among_them():
    mesh = Mesh()
    for number in range(MAX_EVENTS + 10):
        mesh.receive(EventsLost(count=1, number=number), 1.0)
        mesh.receive(RouteChanged(address="10.9.0.2/32", trace=RouteTrace.ADDED), 1.0)
    assert len(mesh.events) == MAX_EVENTS
    assert {type(row.event) for row in mesh.events} == {EventsLost}
    mesh.restart([joined()])
    assert [row.text for row in mesh.events] == ["host2 (10.9.0.2) joined at B"]


def test_what_is_no_address_and_no_time_is_shown_all_the_same():
    mesh = Mesh()
    odd = msgspec.structs.replace(HOST1, address="02:00:00:00:00:05", since="?")
    snapshot(mesh, odd)
    assert mesh.clients[odd.address].since == 0
