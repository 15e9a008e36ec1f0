from __future__ import annotations

from cuberouted.util.ratelimit import MAX_SUBJECTS, LogRateLimit, suppressed_note


def test_one_line_a_minute_with_the_number_of_suppressed_ones():
    limit = LogRateLimit()
    times = [0.0, 0.1, 59.9, 60.0, 61.0, 120.0, 540.0]
    assert [limit.allow("a", now) for now in times] == [0, None, None, 2, None, 1, 0]


def test_a_burst_is_allowed_and_what_is_beyond_it_counted():
    limit = LogRateLimit(burst=2, interval=60)
    assert [limit.allow("a", now) for now in (5, 6, 7, 64.9)] == [0, 0, None, None]
    assert [limit.allow("a", now) for now in (65, 66, 67)] == [2, 0, None]


def test_subjects_are_limited_each_by_itself():
    limit = LogRateLimit()
    assert [limit.allow(subject, 1.0) for subject in "abab"] == [0, 0, None, None]


def test_the_first_line_is_allowed_whatever_the_clock_shows():
    assert LogRateLimit().allow("a", -1e9) == 0


def test_the_number_of_remembered_subjects_is_bounded():
    limit = LogRateLimit()
    for number in range(MAX_SUBJECTS + 1):
        assert limit.allow(f"subject {number}", 0.0) == 0
        assert limit.allow(f"subject {number}", 0.0) is None
    assert limit.allow("subject 0", 0.0) == 0  # it has been forgotten


def test_the_note_is_empty_where_nothing_was_suppressed():
    assert [suppressed_note(count) for count in (0, 1, 2)] == [
        "",
        " (1 similar message suppressed)",
        " (2 similar messages suppressed)",
    ]
