from __future__ import annotations

import itertools
from math import inf

import pytest

from cuberouted.openvpn.polling import (
    ANSWER_TIMEOUT,
    CONFIRM_DELAY,
    LISTING_PAUSE_FACTOR,
    Polling,
    Query,
)

COUNT, LISTING = Query.COUNT, Query.LISTING


@pytest.fixture
def polling() -> Polling:
    """After a first listing of 3 clients, at 100 s, which took no time."""
    polling = Polling(poll_interval=1.0, status_interval=30.0)
    assert polling.timer(100.0) is LISTING
    polling.answered(100.0, 3, listed=True)
    return polling


def count(polling: Polling, now: float, clients: int) -> None:
    assert polling.timer(now) is COUNT
    polling.answered(now, clients, listed=False)


def test_it_counts_every_poll_interval_and_lists_every_status_interval(polling: Polling) -> None:
    sent = []
    now = 100.0
    while now < 131:
        now = polling.deadline
        query = polling.timer(now)
        sent.append((now, query))
        polling.answered(now, 3, listed=query is LISTING)
    assert sent == [(100.0 + i, COUNT) for i in range(1, 30)] + [(130.0, LISTING), (131.0, COUNT)]


def test_a_changed_count_requests_a_listing_at_once(polling: Polling) -> None:
    count(polling, 101.0, 2)
    assert polling.timer(101.0) is LISTING
    polling.answered(101.0, 2, listed=True)
    assert polling.timer(101.0) is None


def test_shorter_intervals_bring_forward_what_is_due_and_longer_ones_do_not_put_it_off() -> None:
    polling = Polling(poll_interval=60.0, status_interval=600.0)
    assert polling.timer(100.0) is LISTING
    polling.answered(110.0, 3, listed=True)
    polling.reconfigure(10.0, 30.0, 120.0)
    assert polling.timer(129.0) is None
    count(polling, 130.0, 3)
    count(polling, 140.0, 3)
    assert polling.timer(150.0) is LISTING
    polling.answered(150.0, 3, listed=True)
    polling.reconfigure(20.0, 600.0, 151.0)
    count(polling, 160.0, 3)
    assert polling.timer(180.0) is LISTING


def test_a_listing_or_a_count_can_be_requested_at_once(polling: Polling) -> None:
    polling.count_now()
    assert polling.timer(100.1) is COUNT
    polling.answered(100.1, 3, listed=False)
    polling.list_now()
    assert polling.timer(100.1) is LISTING


def test_an_applied_event_is_confirmed_after_the_delay_however_often_it_comes(
    polling: Polling,
) -> None:
    polling.list_soon(100.5)
    polling.list_soon(100.5 + CONFIRM_DELAY / 2)
    assert polling.timer(100.5 + CONFIRM_DELAY / 2) is None
    assert polling.deadline == 100.5 + CONFIRM_DELAY
    assert polling.timer(100.5 + CONFIRM_DELAY) is LISTING


def test_one_query_is_pending_at_a_time_and_requests_meanwhile_make_one_more(
    polling: Polling,
) -> None:
    polling.list_now()
    assert polling.timer(100.1) is LISTING
    polling.list_now()
    polling.list_now()
    assert polling.timer(100.1) is None
    polling.answered(100.1, 3, listed=True)
    assert polling.timer(100.1) is LISTING
    polling.answered(100.1, 3, listed=True)
    assert polling.timer(100.1) is None


def test_listings_take_a_tenth_of_openvpns_time_however_many_are_requested(
    polling: Polling,
) -> None:
    now, busy = 101.0, 0.0
    while now < 201.0:
        polling.list_now()
        query = polling.timer(now)
        if query is None:
            now = polling.deadline
            continue
        took = 0.5 if query is LISTING else 0.0
        now, busy = now + took, busy + took
        polling.answered(now, 3, listed=query is LISTING)
    assert busy == pytest.approx(100 / (1 + LISTING_PAUSE_FACTOR), rel=0.1)


def test_an_openvpn_that_stopped_for_a_minute_in_a_listing_is_listed_again_soon(
    polling: Polling,
) -> None:
    polling.list_now()
    assert polling.timer(101.0) is LISTING
    polling.answered(161.0, 3, listed=True)
    polling.list_now()
    assert polling.timer(161.0 + polling.status_interval) is LISTING


def test_a_failed_listing_is_repeated_after_growing_intervals(polling: Polling) -> None:
    polling.list_now()
    sent_at: list[float] = []
    now = 100.0
    while len(sent_at) < 8:
        query = polling.timer(now)
        if query is LISTING:
            sent_at.append(now)
        if query:
            polling.answered(now, 3, listed=False)
        now = polling.deadline
    pauses = [b - a for a, b in itertools.pairwise(sent_at)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_after_a_restart_openvpn_is_listed_at_once_whatever_failed_before(
    polling: Polling,
) -> None:
    for _ in range(5):
        polling.reset()
        assert polling.timer(101.0) is LISTING
        polling.answered(101.0, 0, listed=False)


def test_it_is_silent_when_nothing_is_received_while_a_query_is_pending(polling: Polling) -> None:
    assert not polling.silent
    assert polling.timer(200.0) is LISTING
    assert polling.deadline == 200.0 + ANSWER_TIMEOUT
    polling.received(203.0)  # rows of a long listing
    assert polling.timer(200.0 + ANSWER_TIMEOUT) is None
    assert not polling.silent
    assert polling.timer(203.0 + ANSWER_TIMEOUT) is None
    silent: bool = polling.silent
    assert silent
    assert polling.deadline == inf
    polling.received(300.0)
    polling.answered(300.0, 3, listed=True)
    assert not polling.silent


def test_where_listings_leave_ghosts_those_that_nothing_asks_for_are_a_minute_apart() -> None:
    polling = Polling(poll_interval=1.0, status_interval=30.0)
    polling.leaves_ghosts = True
    assert polling.timer(0.0) is Query.LISTING
    polling.answered(0.0, 1, listed=True)
    for second in range(1, 60):
        assert polling.timer(second) is Query.COUNT
        polling.answered(second, 1, listed=True)
    assert polling.timer(60.0) is Query.LISTING
    polling.answered(60.0, 1, listed=True)
    polling.list_soon(61.0)
    assert polling.timer(61.1) is Query.LISTING
