"""When the next client is sent on. Pure: time and randomness are passed in."""

from __future__ import annotations

from collections.abc import Callable

JITTER = 0.25
"""The share of an interval by which each time is earlier or later."""

CATCH_UP = 1.0
"""Seconds of a delay that are made up for, so that a busy daemon keeps the pace on the whole."""


class Pace:
    """Even times, one every *interval* seconds from *now* on, with jitter that does not add up.

    The first is due at once. *uniform* returns a number from 0 to 1.
    """

    def __init__(self, interval: float, now: float, uniform: Callable[[], float]) -> None:
        self._interval = interval
        self._uniform = uniform
        self._slot = now
        self.due_at = now
        """When the next client may be sent on."""

    def reconfigure(self, interval: float, now: float) -> None:
        """Go on with another *interval*."""
        self._slot = min(self._slot, now + interval)
        self._interval = interval
        self.due_at = min(self.due_at, now + interval)

    def take(self, now: float) -> bool:
        """Whether a client may be sent on at *now*; if so, it counts as sent.

        If nobody has asked for some time, that is made up for only if it is short (`CATCH_UP`).
        """
        if now < self.due_at:
            return False
        if now - self._slot > max(self._interval, CATCH_UP):
            self._slot = now
        self._slot += self._interval
        self.due_at = self._slot + jitter(self._interval, self._uniform)
        return True


def jitter(interval: float, uniform: Callable[[], float]) -> float:
    """A random time of at most `JITTER` of *interval*, earlier or later."""
    return interval * JITTER * (2.0 * uniform() - 1.0)
