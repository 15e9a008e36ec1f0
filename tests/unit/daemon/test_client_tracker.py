"""Events of clients, derived from the best routes."""

from __future__ import annotations

from math import inf

import pytest

from cuberouted.daemon.client_tracker import GRACE, ClientTracker
from cuberouted.events import ClientJoined, ClientMoved
from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.routing.rib import Origin, RibRoute, Source

HOST2 = Prefix.parse("10.100.100.14")
NETWORK = Prefix.parse("192.168.50.0/24")


def route(node="B", name="host2", version=1, since=0, kind=Kind.CLIENT, prefix=HOST2):
    advertisement = Advertisement(prefix, kind, name.encode(), version, True, since)
    return RibRoute(Source(Origin.PEER, node), node, advertisement)


class Story:
    """A tracker, and what it has said."""

    def __init__(self):
        self.tracker = ClientTracker()
        self.said: list[str] = []

    def best(self, route, now, prefix=HOST2, why=""):
        events = list(self.tracker.receive(prefix, route, now, wall_clock=1000.0, why=why))
        self.said += map(str, events)
        return events

    def timer(self, now, limit=100):
        self.said += map(str, self.tracker.timer(now, limit))


@pytest.fixture
def story():
    return Story()


def test_a_roam_is_one_event_whichever_node_has_the_client_first(story):
    story.best(route("B"), 0)
    story.best(route("C", version=2), 1)
    story.best(None, 2)
    story.best(route("B", version=3), 2 + GRACE / 2)
    story.timer(100)
    assert story.said == [
        "host2 (10.100.100.14) joined at B",
        "host2 (10.100.100.14) moved B -> C",
        "host2 (10.100.100.14) moved C -> B",
    ]


def test_a_departure_is_held_back_for_the_grace_time(story):
    story.best(route("B"), 0)
    assert story.tracker.deadline == inf
    story.best(None, 1, why="peer B: nothing received for 3 s")
    assert story.tracker.deadline == 1 + GRACE
    story.timer(1 + GRACE - 0.1)
    assert len(story.said) == 1
    story.timer(1 + GRACE)
    assert story.said[1:] == ["host2 (10.100.100.14) left B: peer B: nothing received for 3 s"]
    assert story.tracker.deadline == inf
    story.best(None, 10)  # it is gone already
    story.timer(100)
    assert len(story.said) == 2


def test_a_client_that_returns_to_its_node_has_reconnected_if_its_session_is_new(story):
    story.best(route("B", version=5), 0)
    story.best(None, 1)
    story.best(route("B", version=5), 2)  # its peer was lost, and is back
    story.best(route("B", version=4), 3)  # its daemon has restarted
    story.timer(100)
    assert len(story.said) == 1
    story.best(route("B", version=6), 101)
    assert story.said[1:] == ["host2 (10.100.100.14) reconnected at B"]


def test_another_client_at_the_same_address_is_a_departure_and_an_arrival(story):
    story.best(route("B"), 0)
    story.best(route("C", name="host3", version=2), 1)
    story.best(None, 2)
    story.best(route("C", name="host4", version=3), 3)
    assert story.said[1:] == [
        "host2 (10.100.100.14) left B",
        "host3 (10.100.100.14) joined at C",
        "host3 (10.100.100.14) left C",
        "host4 (10.100.100.14) joined at C",
    ]


def test_routes_to_servers_to_services_and_adopted_ones_are_no_clients(story):
    story.best(route("B", kind=Kind.SERVER), 0)
    story.best(route("B", kind=Kind.SERVICE), 0)
    story.best(route("B", name="", version=0), 0)
    story.timer(100)
    assert story.said == []


def test_a_network_behind_a_client(story):
    story.best(route("B", kind=Kind.NETWORK, prefix=NETWORK), 0, NETWORK)
    assert story.said == ["network 192.168.50.0/24 behind host2 joined at B"]


def test_an_old_session_was_found_and_did_not_connect_now(story):
    (old,) = story.best(route("B", since=900), 0)
    (new,) = story.best(route("C", since=995, name="host3", version=2), 1)[1:]
    assert isinstance(old, ClientJoined)
    assert isinstance(new, ClientJoined)
    assert (old.found, new.found) == (True, False)
    assert str(old) == "host2 (10.100.100.14) found at B"


def test_the_same_route_again_is_nothing(story):
    best = route("B")
    story.best(best, 0)
    assert story.best(best, 1) == story.best(route("B"), 2) == []


def test_departures_come_in_slices(story):
    for number in range(10):
        prefix = Prefix.parse(f"10.100.100.{number}")
        story.best(route("B", prefix=prefix), 0, prefix)
        story.best(None, 1, prefix)
    story.timer(100, limit=4)
    assert len(story.said) == 14
    story.timer(100, limit=100)
    assert len(story.said) == 20


def test_the_time_until_the_route_was_there_is_passed_on():
    (event,) = ClientTracker().receive(HOST2, route(), 0, routed_after=0.0019)
    assert event.routed_after == 0.0019  # type: ignore[attr-defined]
    tracker = ClientTracker()
    list(tracker.receive(HOST2, route(), 0))
    (event,) = tracker.receive(HOST2, route("C"), 0, routed_after=0.5)
    assert isinstance(event, ClientMoved)
    assert event.routed_after == 0.5


@pytest.mark.parametrize("kind", [Kind.SERVER, Kind.SERVICE])
def test_addresses_of_servers_and_services_are_no_clients(story, kind):
    story.best(route(kind=kind), 0)
    story.best(None, 1)
    story.timer(100)
    assert story.said == []
