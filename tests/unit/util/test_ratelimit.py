from __future__ import annotations

from cuberouted.util.ratelimit import INTERVAL, MAX_SUBJECTS, LogRateLimit


def test_the_same_thing_is_said_once_a_minute_with_what_was_kept_quiet():
    seldom = LogRateLimit()
    times = [0.0, 0.1, INTERVAL - 0.1, INTERVAL, INTERVAL + 1, 2 * INTERVAL, 9 * INTERVAL]
    assert [seldom.due("a", now) for now in times] == [0, None, None, 2, None, 1, 0]


def test_subjects_do_not_silence_each_other():
    seldom = LogRateLimit()
    assert [seldom.due(subject, 1.0) for subject in "abab"] == [0, 0, None, None]


def test_the_first_time_is_said_whatever_the_clock_shows():
    assert LogRateLimit().due("a", -1e9) == 0


def test_a_flood_of_subjects_does_not_fill_the_memory():
    seldom = LogRateLimit()
    for number in range(10 * MAX_SUBJECTS):
        assert seldom.due(f"subject {number}", 0.0) == 0
        seldom.due(f"subject {number}", 0.0)
    assert len(seldom._last) <= MAX_SUBJECTS
    assert len(seldom._quiet) <= MAX_SUBJECTS
