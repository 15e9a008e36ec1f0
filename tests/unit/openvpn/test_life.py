from __future__ import annotations

import itertools

import pytest

from cuberouted.model import Prefix, SessionId, SupersededSession
from cuberouted.openvpn.life import IN_FLIGHT_TIME, RENEWAL_INTERVAL, RENEWED_TIME, LifeWatch
from cuberouted.openvpn.status import IgnoredRows, ListedClient, Listing

A, SESSION = Prefix.parse("10.9.0.50"), SessionId(1, 7)


def moved(version: int = 5) -> SupersededSession:
    return SupersededSession(A, b"host1", SESSION, "vpnsrvB", version)


def listing(received: int) -> Listing:
    client = ListedClient(SESSION, b"host1", b"", b"", b"", (A,), received=received)
    return Listing((client,), {}, IgnoredRows())


def test_a_session_is_dead_at_the_first_listing() -> None:
    found = LifeWatch().look([moved()], listing(100), 10.0)
    assert (found.dead, found.back) == ([moved()], [])


def test_a_session_whose_client_has_just_come_back_is_dead_once_its_bytes_stand_still() -> None:
    life = LifeWatch()
    life.renewed(SESSION, 10.0)
    for now, received in ((10.1, 100), (10.1 + IN_FLIGHT_TIME, 150)):
        assert life.look([moved()], listing(received), now).dead == []
    assert life.look([moved()], listing(150), 20.0).dead == [moved()]


def test_after_a_while_a_session_that_was_renewed_is_like_any_other() -> None:
    life = LifeWatch()
    life.renewed(SESSION, 10.0)
    assert life.look([moved()], listing(100), 10.0 + RENEWED_TIME).dead == [moved()]


def test_bytes_show_that_a_client_is_back_once_a_minute_at_most() -> None:
    life, times = LifeWatch(), []
    version = 0
    for second in range(0, 200, 2):
        found = life.look([moved(version)], listing(second), float(second))
        if found.back:
            times.append(second)
            version += 1  # the other device takes the address again
    assert len(times) == 4
    assert all(b - a >= RENEWAL_INTERVAL for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("claims", [1, 5])
def test_only_a_new_claim_begins_a_new_watch(claims: int) -> None:
    life = LifeWatch()
    dead = [life.look([moved(version)], listing(100), 10.0).dead for version in range(claims)]
    assert [len(found) for found in dead] == [1] * claims
    assert life.look([moved(claims - 1)], listing(100), 10.1).dead == []
