"""Counts durations, or other amounts, by size. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Amounts that were observed, counted by the first of *bounds* that they do not exceed.

    ``counts`` has one number for each bound, and a last one for the amounts above all of them.
    ``sum``: of all amounts.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        """In ascending order."""
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, amount: float) -> None:
        """Count *amount*."""
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.sum += amount

    def cumulative(self) -> list[int]:
        """For each bound: how many amounts did not exceed it; the last number is that of all."""
        return list(accumulate(self.counts))
