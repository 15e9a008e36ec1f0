from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cuberouted.util.histogram import Histogram


def test_an_amount_that_equals_a_bound_is_counted_there():
    histogram = Histogram((0.1, 1.0))
    for amount in (0.0, 0.1, 0.2, 1.0, 1.1, 50.0):
        histogram.observe(amount)
    assert histogram.counts == [2, 2, 2]
    assert histogram.cumulative() == [2, 4, 6]
    assert histogram.sum == 52.4


def test_an_empty_one():
    histogram = Histogram((1.0,))
    assert (histogram.cumulative(), histogram.sum) == ([0, 0], 0.0)


@given(st.lists(st.floats(0, 20)))
def test_the_counts_are_those_of_the_sorted_amounts(amounts):
    histogram = Histogram((0.5, 1.0, 10.0))
    for amount in amounts:
        histogram.observe(amount)
    assert histogram.cumulative()[-1] == len(amounts)
    for bound, count in zip(histogram.bounds, histogram.cumulative(), strict=False):
        assert count == sum(amount <= bound for amount in amounts)
