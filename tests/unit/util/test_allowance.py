from __future__ import annotations

from cuberouted.util.allowance import Allowance


def test_so_many_in_a_window_and_the_rest_counted() -> None:
    allowance = Allowance(2, 60)
    assert [allowance.take(now) for now in (5, 6, 7, 64.9)] == [True, True, False, False]
    assert allowance.take(65)
    assert allowance.tally() == 2
    assert allowance.tally() == 0
