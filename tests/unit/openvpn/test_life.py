from __future__ import annotations

import itertools
from math import inf

from cuberouted.model import Prefix, SessionId, SupersededSession
from cuberouted.openvpn.life import (
    RENEWAL_INTERVAL,
    RENEWED_TIME,
    STILL_TIME,
    LifeWatch,
)
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import IgnoredRows, ListedClient, Listing

A, SESSION = Prefix.parse("10.9.0.50"), SessionId(1, 7)
A6 = Prefix.parse("fd00::50")


def moved(version: int = 5, prefix: Prefix = A) -> SupersededSession:
    return SupersededSession(prefix, b"host1", SESSION, "vpnsrvB", version)


def listing(received: int, session: SessionId = SESSION) -> Listing:
    client = ListedClient(session, b"host1", b"", b"", b"", (A,), received=received)
    return Listing((client,), {}, IgnoredRows())


def watched() -> LifeWatch:
    """One that has not killed the session at its first listing, at 10.0: it was damped."""
    life = LifeWatch()
    assert life.compare([moved()], listing(100), 10.0).killable == [moved()]
    return life


def test_a_session_may_be_killed_at_the_first_listing() -> None:
    found = LifeWatch().compare([moved()], listing(100), 10.0)
    assert (found.killable, found.back, found.again_at) == ([moved()], [], inf)
    listed_without_id = listing(100, SESSION._replace(cid=NO_CID))
    assert LifeWatch().compare([moved()], listed_without_id, 10.0).killable == [moved()]
    assert LifeWatch().compare([moved()], listing(100, SessionId(2, 7)), 10.0).killable == []


def test_later_it_is_killed_once_nothing_is_received_for_longer_than_the_pings_are_apart() -> None:
    life = watched()
    found = life.compare([moved()], listing(150), 10.1)  # it was on its way when the client moved
    assert (found.killable, found.again_at) == ([], 10.1 + STILL_TIME)
    assert life.compare([moved()], listing(150), 30.0).killable == []
    assert life.compare([moved()], listing(150), 30.1).killable == [moved()]


def test_one_forged_packet_prevents_the_kill_and_announces_nothing() -> None:
    life = watched()
    found = life.compare([moved()], listing(160), 20.0)
    assert (found.killable, found.back) == ([], [])
    assert life.compare([moved()], listing(160), 20.0 + STILL_TIME).killable == [moved()]


def test_what_is_received_again_and_again_shows_that_the_client_is_back() -> None:
    life = watched()
    assert life.compare([moved()], listing(200), 22.0).back == []
    (client,) = life.compare([moved()], listing(300), 32.0).back
    assert client.session == SESSION


def test_life_that_was_shown_is_remembered_whatever_supersedes_the_session_next() -> None:
    life = watched()
    for now, received in ((12.0, 200), (22.0, 250)):
        life.compare([moved()], listing(received), now)
    for items in ([moved(4)], [moved(6)], [moved(6), moved(9, A6)]):
        assert life.compare(items, listing(250), 23.0).killable == []


def test_another_claim_that_is_not_newer_begins_no_new_watch() -> None:
    life = watched()
    assert life.compare([moved(4)], listing(100), 10.1).killable == []
    assert life.compare([moved(6)], listing(100), 10.2).killable == [moved(6)]


def test_a_session_whose_client_has_just_come_back_is_not_killed_at_the_first_listing() -> None:
    life = LifeWatch()
    life.renewed(SESSION, 10.0)
    assert life.compare([moved()], listing(100), 10.1).killable == []
    later = LifeWatch()
    later.renewed(SESSION, 10.0)
    assert later.compare([moved()], listing(100), 10.0 + RENEWED_TIME).killable == [moved()]


def test_bytes_show_that_a_client_is_back_once_a_minute_at_most() -> None:
    life, times = watched(), []
    version = 5
    for second in range(12, 312, 2):
        if life.compare([moved(version)], listing(100 + second), float(second)).back:
            times.append(second)
            version += 1  # the other device takes the address again
    assert len(times) >= 4
    assert all(b - a >= RENEWAL_INTERVAL for a, b in itertools.pairwise(times))
