"""How many of a peer's state changes become events, of the session with it and of what it says of
itself. Pure: the time is passed in.

A peer that announces two names in turn, or is restarted without end, could otherwise push all
other events out of the ring.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import msgspec

from cuberouted.events import NodeStateChanged, PeerStateChanged

Change = TypeVar("Change", PeerStateChanged, NodeStateChanged)

MAX_CHANGES = 30
"""Changes in `INTERVAL` that are passed on at once."""

INTERVAL = 60.0
"""Seconds."""


class ChangeLimit(Generic[Change]):
    """Passes the state changes of one peer on; those beyond the limit as one.

    That one leads from the state that was passed on last to the present one, so that whoever
    follows the events has the right state at the latest `INTERVAL` after it.
    """

    def __init__(self) -> None:
        self._interval_ends = -math.inf
        self._passed = 0
        self._held: Change | None = None

    @property
    def deadline(self) -> float:
        """When `timer` is due; inf: never."""
        return math.inf if self._held is None else self._interval_ends

    def add(self, change: Change, now: float) -> Change | None:
        """What to emit for *change* at *now* (monotonic seconds)."""
        held, self._held = self._held, None
        if held is not None:
            change = msgspec.structs.replace(change, old=held.old, count=held.count + 1)
        if now >= self._interval_ends:
            self._interval_ends, self._passed = now + INTERVAL, 0
        if self._passed < MAX_CHANGES:
            self._passed += 1
            return change
        self._held = change
        return None

    def timer(self, now: float) -> Change | None:
        """What to emit at *now* of what was held back."""
        if now < self.deadline:
            return None
        held, self._held = self._held, None
        self._interval_ends, self._passed = now + INTERVAL, 1
        return held
