"""The times at which clients are sent on: even, with jitter, and never made up for."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cuberouted.maintenance.pace import CATCH_UP, JITTER, Pace

INTERVALS = st.floats(0.001, 100.0)
SHARES = st.lists(st.floats(0.0, 1.0), min_size=30, max_size=30)


def taken(pace, now):
    """When the next client is sent on, if somebody looks as soon as one may be."""
    now = max(now, pace.due_at)
    assert pace.take(now)
    return now


@given(INTERVALS, SHARES)
def test_the_times_are_even_but_for_the_jitter(interval, shares):
    uniform = itertools.cycle(shares)
    pace, now, times = Pace(interval, 0.0, lambda: next(uniform)), 0.0, []
    for _ in shares:
        now = taken(pace, now)
        times.append(now)
    assert times[0] == 0.0
    for number, at in enumerate(times):
        assert abs(at - number * interval) <= JITTER * interval * 1.001 + 1e-6


@given(INTERVALS, st.floats(0.0, 1000.0))
def test_a_long_pause_is_not_made_up_for(interval, pause):
    pace = Pace(interval, 0.0, lambda: 0.5)
    taken(pace, 0.0)
    now = taken(pace, 2.001 * interval + CATCH_UP + pause)
    assert pace.due_at >= now + interval * 0.999
    assert not pace.take(now + interval * 0.5)


def test_a_short_delay_is_made_up_for():
    """20,000 clients in a minute, by a daemon that is busy for 30 ms each second."""
    pace, now, count = Pace(0.003, 0.0, lambda: 0.5), 0.0, 0
    while now < 60.0:
        while pace.take(now):
            count += 1
        now += 0.03 if round(now * 1000) % 1000 == 0 else 0.001
    assert abs(count - 20_000) < 20


@given(INTERVALS, INTERVALS)
def test_another_interval_counts_from_now_on(old, new):
    pace = Pace(old, 0.0, lambda: 0.5)
    taken(pace, 0.0)
    pace.reconfigure(new, 0.0)
    assert pace.due_at <= min(old, new) * 1.001
    first = taken(pace, 0.0)
    second = taken(pace, first)
    third = taken(pace, second)
    assert abs(third - second - new) < 1e-6 * (1 + new) or second <= old


def test_without_an_interval_everybody_is_due():
    pace = Pace(0.0, 7.0, lambda: 1.0)
    assert [pace.take(7.0) for _ in range(5)] == [True] * 5
