from __future__ import annotations

import itertools
from math import inf

import pytest

from cuberouted.openvpn.polling import ANSWER_TIMEOUT, CONFIRM_DELAY, LISTING_DUTY, Polling, Query

COUNT, LISTING = Query.COUNT, Query.LISTING


@pytest.fixture
def polling() -> Polling:
    """One that has just had its first listing, of 3 clients, at 100 s, which took no time."""
    polling = Polling(poll_interval=1.0, status_interval=30.0)
    assert polling.ask(100.0) is LISTING
    polling.answered(100.0, 3, listed=True)
    return polling


def count(polling: Polling, now: float, clients: int) -> None:
    assert polling.ask(now) is COUNT
    polling.answered(now, clients, listed=False)


def test_it_counts_every_poll_interval_and_lists_every_status_interval(polling: Polling) -> None:
    asked = []
    now = 100.0
    while now < 131:
        now = polling.next_wakeup(now)
        question = polling.ask(now)
        asked.append((now, question))
        polling.answered(now, 3, listed=question is LISTING)
    assert asked == [(100.0 + i, COUNT) for i in range(1, 30)] + [(130.0, LISTING), (131.0, COUNT)]


def test_another_count_calls_for_a_listing_at_once(polling: Polling) -> None:
    count(polling, 101.0, 2)
    assert polling.ask(101.0) is LISTING
    polling.answered(101.0, 2, listed=True)
    assert polling.ask(101.0) is None


def test_a_hint_calls_for_a_listing_at_once_and_a_lesser_one_for_a_count(polling: Polling) -> None:
    polling.count_now()
    assert polling.ask(100.1) is COUNT
    polling.answered(100.1, 3, listed=False)
    polling.list_now()
    assert polling.ask(100.1) is LISTING


def test_what_was_acted_on_is_confirmed_a_little_later_however_often_it_comes(
    polling: Polling,
) -> None:
    polling.list_soon(100.5)
    polling.list_soon(100.5 + CONFIRM_DELAY / 2)
    assert polling.ask(100.5 + CONFIRM_DELAY / 2) is None
    assert polling.next_wakeup(100.5 + CONFIRM_DELAY / 2) == 100.5 + CONFIRM_DELAY
    assert polling.ask(100.5 + CONFIRM_DELAY) is LISTING


def test_one_question_is_open_at_a_time_and_hints_meanwhile_make_one_more(
    polling: Polling,
) -> None:
    polling.list_now()
    assert polling.ask(100.1) is LISTING
    polling.list_now()
    polling.list_now()
    assert polling.ask(100.1) is None
    polling.answered(100.1, 3, listed=True)
    assert polling.ask(100.1) is LISTING
    polling.answered(100.1, 3, listed=True)
    assert polling.ask(100.1) is None


def test_listings_take_a_tenth_of_openvpns_time_however_many_hints_come(polling: Polling) -> None:
    now, busy = 101.0, 0.0
    while now < 201.0:
        polling.list_now()
        question = polling.ask(now)
        if question is None:
            now = polling.next_wakeup(now)
            continue
        took = 0.5 if question is LISTING else 0.0
        now, busy = now + took, busy + took
        polling.answered(now, 3, listed=question is LISTING)
    assert busy == pytest.approx(100 / (1 + LISTING_DUTY), rel=0.1)


def test_an_openvpn_that_stopped_for_a_minute_in_a_listing_is_listed_again_soon(
    polling: Polling,
) -> None:
    polling.list_now()
    assert polling.ask(101.0) is LISTING
    polling.answered(161.0, 3, listed=True)
    polling.list_now()
    assert polling.ask(161.0 + polling.status_interval) is LISTING


def test_a_listing_that_fails_is_asked_for_again_later_and_later(polling: Polling) -> None:
    polling.list_now()
    asked_at: list[float] = []
    now = 100.0
    while len(asked_at) < 8:
        question = polling.ask(now)
        if question is LISTING:
            asked_at.append(now)
        if question:
            polling.answered(now, 3, listed=False)
        now = polling.next_wakeup(now)
    pauses = [b - a for a, b in itertools.pairwise(asked_at)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_an_openvpn_that_has_just_started_is_listed_whatever_failed_before(
    polling: Polling,
) -> None:
    for _ in range(5):
        polling.reset()
        assert polling.ask(101.0) is LISTING
        polling.answered(101.0, 0, listed=False)


def test_it_is_silent_when_it_owes_an_answer_and_says_nothing(polling: Polling) -> None:
    assert not polling.silent(1000.0)
    assert polling.ask(200.0) is LISTING
    assert polling.next_wakeup(200.0) == 200.0 + ANSWER_TIMEOUT
    polling.heard(203.0)  # rows of a long listing
    assert not polling.silent(200.0 + ANSWER_TIMEOUT)
    assert polling.silent(203.0 + ANSWER_TIMEOUT)
    assert polling.next_wakeup(203.0 + ANSWER_TIMEOUT) == inf
    polling.heard(300.0)
    polling.answered(300.0, 3, listed=True)
    assert not polling.silent(300.0)
