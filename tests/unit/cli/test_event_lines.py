from __future__ import annotations

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.cli.event_lines import Selection, Target, format_time, parse_since, printable
from cuberouted.events import (
    ClientJoined,
    ClientMoved,
    Event,
    EventsLost,
    NodeProblem,
    NodeProblemEnded,
    NodeStarted,
    NodeStateChanged,
    OpenVPNStateChanged,
    PeerStateChanged,
    PoolConflictBegan,
    RouteChanged,
    RouteTrace,
    ServiceChecked,
    ServiceMoved,
)
from cuberouted.model import Kind

MOVED = ClientMoved(address="10.9.0.14", client="host2", from_node="B", to_node="C")
NETWORK = ClientJoined(
    address="192.168.50.0/24", client="host1", kind=Kind.NETWORK, to_node="B", since=1
)
ROUTE = RouteChanged(address="10.9.0.14/32", trace=RouteTrace.ADDED)
PEER = PeerStateChanged(peer="B", known_as="B (10.2.0.5)", old="up", new="down", why="silence")
OPENVPN = OpenVPNStateChanged(openvpn="udp", old="connected", new="waiting", why="refused")
POOL = PoolConflictBegan(
    address="10.9.0.20", client="host5", other_client="host6", to_node="B", other_node="C"
)
SERVICE = ServiceMoved(service="db", address="10.8.0.200", from_node="", to_node="D")
CHECKED = ServiceChecked(service="db", healthy=False)
FAILED = NodeProblem(what="service db", why="on_acquire: killed")
MENDED = NodeProblemEnded(what="service db")
NODE = NodeStateChanged(of_node="D", old="active", new="draining", by="root")


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("host2", [MOVED]),
        ("host6", [POOL]),
        ("host", []),
        ("10.9.0.14", [MOVED, ROUTE]),
        ("10.9.0.14/32", [MOVED, ROUTE]),
        ("10.9.0.1", []),
        ("10.9.0.0/24", [MOVED, ROUTE, POOL]),
        ("192.168.50.7", [NETWORK]),
        ("fd00::1", []),
        ("B", [MOVED, NETWORK, PEER, POOL]),
        ("B (10.2.0.5)", [PEER]),
        ("udp", [OPENVPN]),
        ("db", [SERVICE, CHECKED, FAILED, MENDED]),
        ("10.8.0.200", [SERVICE]),
        ("D", [SERVICE, NODE]),
        ("root", []),
    ],
)
def test_a_target_is_an_address_a_network_or_a_name_in_an_event(target, found):
    services = [SERVICE, CHECKED, FAILED, MENDED]
    events: list[Event] = [MOVED, NETWORK, ROUTE, PEER, OPENVPN, POOL, *services, NODE]
    selection = Selection(Target.parse(target), verbose=True)
    assert [event for event in events if selection.shows(event)] == found


def test_lost_events_may_have_been_about_everything():
    assert Selection(Target.parse("host2")).shows(EventsLost(count=3))


def test_changes_of_routes_are_shown_only_where_they_are_asked_for():
    started = NodeStarted(version="1", control_socket="/s")
    assert [Selection().shows(event) for event in (ROUTE, started)] == [False, True]
    assert Selection(verbose=True).shows(ROUTE)


def test_times_are_local_and_have_milliseconds():
    at = dt.datetime(2026, 11, 27, 9, 18, 46, 123987, dt.UTC)
    assert format_time(at) == "2026-11-27 09:18:46.123"
    assert format_time(at, dt.timezone(dt.timedelta(hours=2))) == "2026-11-27 11:18:46.123"
    assert format_time(at.replace(microsecond=0)) == "2026-11-27 09:18:46.000"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("30s", "2026-11-27T09:29:30"),
        ("10min", "2026-11-27T09:20:00"),
        ("10 m", "2026-11-27T09:20:00"),
        ("2h", "2026-11-27T07:30:00"),
        ("3days", "2026-11-24T09:30:00"),
        ("09:00", "2026-11-27T09:00:00"),
        ("09:30:01", "2026-11-26T09:30:01"),
        ("2026-11-26", "2026-11-26T00:00:00"),
        ("2026-11-26 09:00", "2026-11-26T09:00:00"),
        ("2026-11-26T09:00Z", "2026-11-26T09:00:00"),
        ("2026-11-26T09:00+02:00", "2026-11-26T07:00:00"),
    ],
)
def test_a_time_is_a_while_ago_a_time_of_day_or_a_date(text, time):
    now = dt.datetime(2026, 11, 27, 9, 30, tzinfo=dt.UTC)
    assert parse_since(text, now) == dt.datetime.fromisoformat(time + "+00:00")


@pytest.mark.parametrize("text", ["", "soon", "10", "-3h", "25:00", "999999999days", "3 weeks"])
def test_a_time_that_is_none_is_refused_with_examples(text):
    now = dt.datetime(2026, 11, 27, 9, 30, tzinfo=dt.UTC)
    with pytest.raises(ValueError, match="is not a time \\(examples: 30s, 10min"):
        parse_since(text, now)


def test_a_name_cannot_command_the_terminal():
    assert printable("a\x1b[2Jb\nc\x9b") == "a\\x1b[2Jb\\nc\\x9b"
    assert printable("jürg") == "jürg"
    assert printable("jürg", "ascii") == "j\\xfcrg"


@given(st.text(), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_everything_can_be_shown_on_every_terminal(text, encoding):
    shown = printable(text, encoding)
    assert shown.encode(encoding).decode(encoding) == shown
    assert all(c.isprintable() for c in shown)
