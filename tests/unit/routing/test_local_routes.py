"""Versions of local routes: RFC 7432 section 15, joined with the session's start."""

from __future__ import annotations

import msgspec
import pytest

from cuberouted.model import MAX_VERSION, Advertisement, Kind, LocalRoute, Prefix, SessionId
from cuberouted.routing.local_routes import MAX_PREVIOUS_SESSIONS, LocalRoutes

HOST1 = Prefix.parse("10.100.100.11")


def session(since=1, cid=0, announced=False, confirmed=True):
    return LocalRoute(HOST1, Kind.CLIENT, b"host1", SessionId(cid, since), announced, confirmed)


def advertise(routes, route, highest=0):
    [advertisement] = routes.advertisements([route], lambda _: highest)
    return advertisement


@pytest.fixture
def routes():
    return LocalRoutes()


def test_an_announced_session_is_newer_than_everything_known(routes):
    route = session(since=3, announced=True, confirmed=False)
    expected = Advertisement(HOST1, Kind.CLIENT, b"host1", 5_000_001, confirmed=False, since=3)
    assert advertise(routes, route, highest=5_000_000) == expected
    assert advertise(LocalRoutes(), route).version == 3_000_000


def test_a_session_found_in_a_listing_has_the_version_of_its_start(routes):
    assert advertise(routes, session(since=3), highest=5_000_000).version == 3_000_000


def test_a_known_session_keeps_its_version(routes):
    first = advertise(routes, session(since=3, announced=True, confirmed=False))
    again = advertise(routes, session(since=3, announced=True), highest=9_000_000)
    assert (first.version, again.version) == (3_000_000, 3_000_000)
    assert (first.confirmed, again.confirmed) == (False, True)


def test_a_renewed_session_is_newer_than_everything_known(routes):
    first = session(since=3, announced=True)
    advertise(routes, first)
    renewed = msgspec.structs.replace(first, renewed=8)
    assert advertise(routes, renewed, highest=9_000_000).version == 9_000_001
    assert advertise(routes, renewed, highest=9_500_000).version == 9_000_001
    assert advertise(LocalRoutes(), renewed, highest=5_000_000).version == 8_000_000


def test_the_same_client_id_after_an_openvpn_restart_is_another_session(routes):
    advertise(routes, session(since=3))
    assert advertise(routes, session(since=8)).version == 8_000_000


def test_the_session_before_a_refused_client_keeps_its_version(routes):
    advertise(routes, session(since=2, announced=True))
    advertise(routes, session(since=3, announced=True, confirmed=False))
    for since in (10, 11):
        advertise(routes, session(since=since, announced=True, confirmed=False), 9_000_000)
    back = advertise(routes, session(since=3, announced=True), highest=11_000_000)
    assert back.version == 3_000_000


def test_the_number_of_remembered_sessions_is_bounded(routes):
    for cid in range(2 * MAX_PREVIOUS_SESSIONS):
        advertise(routes, session(cid=cid, since=1 + cid, announced=True, confirmed=False))
    newest = advertise(routes, session(cid=0, since=1, announced=True), highest=7_000_000)
    assert newest.version == 7_000_001  # forgotten, so it counts as a new session


def test_a_withdrawn_session_is_forgotten(routes):
    advertise(routes, session(since=3, announced=True))
    assert routes.session(HOST1) == SessionId(0, 3)
    routes.withdraw([HOST1])
    with pytest.raises(KeyError):
        routes.session(HOST1)
    assert advertise(routes, session(since=3, announced=True), 5_000_000).version == 5_000_001


def test_a_version_never_leaves_its_range(routes):
    highest = MAX_VERSION - 1
    assert advertise(routes, session(since=3, announced=True), highest).version == highest
    assert advertise(LocalRoutes(), session(since=0)).version == 1
