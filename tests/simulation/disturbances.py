"""Which parts of the mesh are disturbed by faults: invariants hold for undisturbed ones only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import trio


class Disturbances:
    """Disturbances by key: the faults under way, and the time that recovery from them takes."""

    def __init__(self) -> None:
        self._now: Counter[Hashable] = Counter()
        self._until: dict[Hashable, float] = {}
        self.stalled = 0.0
        self._stall = (-math.inf, 0.0)

    @property
    def now(self) -> float:
        """The time in seconds, without that of stalls, in which nothing could run."""
        return trio.current_time() - self.stalled

    def stall(self, seconds: float) -> None:
        """The whole host has stopped for so long."""
        self._stall = self.now - seconds, seconds
        self.stalled += seconds

    def stalled_within(self, seconds: float) -> float:
        """How long the last stall was, if it was in the last *seconds*."""
        at, length = self._stall
        return length if self.now - at <= seconds else 0.0

    @contextmanager
    def disturbed(self, aftermath: float, *keys: Hashable) -> Iterator[None]:
        """These are disturbed meanwhile, and for *aftermath* seconds after."""
        self._now.update(keys)
        try:
            yield
        finally:
            self._now.subtract(keys)
            for key in keys:
                self.disturb(key, aftermath)

    def disturb(self, key: Hashable, aftermath: float) -> None:
        """This is disturbed from now on for *aftermath* seconds."""
        until = self.now + aftermath
        self._until[key] = max(self._until.get(key, -math.inf), until)

    def since(self, *keys: Hashable) -> float:
        """When the last disturbance of any of these ended; inf while one lasts."""
        if any(self._now[key] > 0 for key in keys):
            return math.inf
        return max((self._until.get(key, -math.inf) for key in keys), default=-math.inf)

    def holds(self, *keys: Hashable) -> bool:
        """Whether none of these is disturbed now."""
        return self.since(*keys) < self.now
