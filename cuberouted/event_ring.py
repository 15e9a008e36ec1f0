"""The stream of events: publishes them, keeps the newest, and wakes their readers.

A slow reader never holds up who publishes: it loses events, and is told how many.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

import msgspec
import trio

from cuberouted.events import Event, EventsLost

EventT = TypeVar("EventT", bound=Event)

MAX_SEARCHED = 10_000
"""Events that one search goes through at most: some milliseconds of work."""

BATCH = 500
"""Events that a reader gets at once: some milliseconds of work for it."""


class EventRing:
    """All events of one daemon: the newest *kept* of them, and everybody who reads them.

    *wall_clock* returns Unix seconds. ``listeners`` are called with each event as it is published;
    they neither wait nor raise.
    """

    def __init__(self, node: str, kept: int, wall_clock: Callable[[], float]) -> None:
        self.listeners: list[Callable[[Event], None]] = []
        self._node = node
        self._wall_clock = wall_clock
        self._events: deque[Event] = deque(maxlen=kept)
        self._last = 0
        self._lost = 0
        self._readers = trio.lowlevel.ParkingLot()
        self._closed = False

    @property
    def last(self) -> int:
        """The number of the newest event, or 0."""
        return self._last

    @property
    def oldest(self) -> int:
        """The number of the oldest event that is kept; without one, of the next."""
        return self._last - len(self._events) + 1

    @property
    def lost(self) -> int:
        """How many events readers have lost, all together."""
        return self._lost

    @property
    def is_closed(self) -> bool:
        """Whether no more events come, because the daemon stops."""
        return self._closed

    def close(self) -> None:
        """No more events come. Readers end once they have received those that are kept."""
        self._closed = True
        self._readers.unpark_all()

    def publish(self, event: Event) -> None:
        """Number *event*, keep it, and pass it to everybody."""
        self._last += 1
        now = dt.datetime.fromtimestamp(self._wall_clock(), dt.UTC)
        event = msgspec.structs.replace(event, number=self._last, time=now, node=self._node)
        self._events.append(event)
        for listener in self.listeners:
            listener(event)
        if self._readers:
            self._readers.unpark_all()

    def resize(self, kept: int) -> None:
        """Keep that many from now on."""
        self._events = deque(self._events, maxlen=kept)

    def after(self, number: int, limit: int = BATCH) -> list[Event]:
        """Up to *limit* kept events that were published after event *number*, oldest first.

        The first one is an `EventsLost` if some before it are not kept any more.
        """
        count = self._last - number
        if count <= 0:
            return []
        if count <= limit:  # a reader that keeps up: from the newer end, whatever is kept
            events = list(islice(reversed(self._events), count))[::-1]
        else:
            skipped = max(len(self._events) - count, 0)
            events = list(islice(self._events, skipped, skipped + limit))
        lost = count - len(self._events)
        if lost > 0 and events:
            self._lost += lost
            first = events[0]
            gap = EventsLost(count=lost, number=first.number - 1, time=first.time, node=self._node)
            events.insert(0, gap)
        return events

    def newest(self, kind: type[EventT], is_meant: Callable[[EventT], bool]) -> EventT | None:
        """The newest event of this *kind* that *is_meant*, of the newest MAX_SEARCHED ones."""
        for event in islice(reversed(self._events), MAX_SEARCHED):
            if isinstance(event, kind) and is_meant(event):
                return event
        return None

    async def wait(self) -> None:
        """Wait until an event is published, or the ring closed."""
        if not self._closed:
            await self._readers.park()
