from __future__ import annotations

import pytest

from cuberouted.cli.times import format_age, format_duration, format_since


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (60.0, "1 min 0 s"),
        (3599.9, "59 min 59 s"),
        (3600.0, "1 h 0 min"),
        (86399.0, "23 h 59 min"),
        (86400.0, "1 day 0 h"),
        (200_000.0, "2 days 7 h"),
        (8.64e8, "10000 days 0 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0 s"),
        (0.9, "0 s"),
        (119.9, "119 s"),
        (120.0, "2 min"),
        (7199.0, "119 min"),
        (7200.0, "2 h"),
        (172_799.0, "47 h"),
        (172_800.0, "2 days"),
    ],
)
def test_an_age_has_one_unit_that_is_exact_enough(seconds, text):
    assert format_age(seconds) == text


def test_since_is_told_from_now():
    noon = 1_795_262_400
    assert format_since("2026-11-21T12:00:00Z", noon + 240) == "4 min ago"
    assert format_since("2026-11-21T12:00:00Z", noon - 5) == "0 s ago"  # of a faster clock
