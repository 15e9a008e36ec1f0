"""What has been left in peace for how long: what is promised depends on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import trio


class Disturbances:
    """Disturbances of things, by key: what the simulation does to them, and its aftermath."""

    def __init__(self) -> None:
        self._now: Counter[Hashable] = Counter()
        self._until: dict[Hashable, float] = {}
        self.stalled = 0.0
        self._stall = (-math.inf, 0.0)

    @property
    def now(self) -> float:
        """Seconds in which something could happen, that is, without those of stalls."""
        return trio.current_time() - self.stalled

    def stall(self, seconds: float) -> None:
        """Everything has stopped for so long."""
        self._stall = self.now - seconds, seconds
        self.stalled += seconds

    def stalled_within(self, seconds: float) -> float:
        """How long the last stall was, if it was in the last *seconds*."""
        at, length = self._stall
        return length if self.now - at <= seconds else 0.0

    @contextmanager
    def disturbed(self, aftermath: float, *keys: Hashable) -> Iterator[None]:
        """Meanwhile, and for *aftermath* seconds, these are disturbed."""
        self._now.update(keys)
        try:
            yield
        finally:
            self._now.subtract(keys)
            for key in keys:
                self.disturb(key, aftermath)

    def disturb(self, key: Hashable, aftermath: float) -> None:
        """It happens at once, and lasts for *aftermath* seconds."""
        until = self.now + aftermath
        self._until[key] = max(self._until.get(key, -math.inf), until)

    def since(self, *keys: Hashable) -> float:
        """When the last disturbance of any of these ended; inf: one lasts."""
        if any(self._now[key] > 0 for key in keys):
            return math.inf
        return max((self._until.get(key, -math.inf) for key in keys), default=-math.inf)

    def holds(self, *keys: Hashable) -> bool:
        """Whether none of these is disturbed now."""
        return self.since(*keys) < self.now
