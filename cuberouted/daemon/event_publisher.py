"""Publishes the events of clients and routes, behind the work that they report.

The RIB and the kernel come first: what has changed is only noted, and this task publishes it in
slices while the next changes are already applied.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple

import trio

from cuberouted.daemon.client_tracker import ClientTracker
from cuberouted.events import (
    Emit,
    PoolConflictBegan,
    PoolConflictEnded,
    RouteChanged,
    RouteConflictBegan,
    RouteConflictEnded,
    RouteTrace,
)
from cuberouted.model import Prefix, printable_name
from cuberouted.routing.fib import Fib, Trace
from cuberouted.routing.rib import Rib
from cuberouted.util.tasks import Signal

CHUNK_EVENTS = 250
"""Changes that are published before other tasks run: a few milliseconds of work."""


class _News(NamedTuple):
    """When the news came that changed a prefix (monotonic seconds), and why its clients leave."""

    heard: float
    why: str


class EventPublisher:
    """Turns changes of *rib* and *fib* into events. *wall_clock* returns Unix seconds."""

    def __init__(self, rib: Rib, fib: Fib, emit: Emit, wall_clock: Callable[[], float]) -> None:
        self._rib = rib
        self._fib = fib
        self._emit = emit
        self._wall_clock = wall_clock
        self._tracker = ClientTracker()
        # a dict would look through all entries that are gone to find its first
        self._changed: OrderedDict[Prefix, _News] = OrderedDict()
        self._alternatives: OrderedDict[Prefix, None] = OrderedDict()
        self._conflicts: set[Prefix] = set()  # prefixes with two clients, as published
        self._wakeup = Signal()

    @property
    def deadline(self) -> float:
        """When a departure that is held back is published (monotonic seconds), or infinity."""
        return self._tracker.deadline

    def wake(self) -> None:
        """The FIB has new traces."""
        self._wakeup.set()

    def changed(self, prefixes: Iterable[Prefix], heard: float, why: str = "") -> None:
        """The best routes of *prefixes* may be others, by news that came at *heard*.

        *why*: why clients leave, if they do not by themselves.
        """
        self._changed.update(dict.fromkeys(prefixes, _News(heard, why)))
        self._wakeup.set()

    def alternatives_changed(self, prefixes: Iterable[Prefix]) -> None:
        """The routes of *prefixes* behind the best one are others."""
        self._alternatives.update(dict.fromkeys(prefixes))
        self._wakeup.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            with trio.move_on_at(self._tracker.deadline):
                await self._wakeup.wait()
            while self._publish_some():
                await trio.lowlevel.checkpoint()

    def _publish_some(self) -> bool:
        """Publish one slice, the oldest first. Return whether there may be more."""
        rest = CHUNK_EVENTS
        while self._fib.traces and rest:
            self._publish_trace(self._fib.traces.popleft())
            rest -= 1
        while self._changed and rest:
            self._publish_client(*self._changed.popitem(last=False))
            rest -= 1
        while self._alternatives and rest:
            self._publish_conflict(self._alternatives.popitem(last=False)[0])
            rest -= 1
        left = self._tracker.timer(trio.current_time(), rest)
        for event in left:
            self._emit(event)
        return rest == len(left)

    def _publish_trace(self, trace: Trace) -> None:
        address, what, why = trace.prefix.short, trace.what, trace.why
        if what is None:
            self._emit(RouteConflictEnded(address=address))
            return
        via = trace.to.name if trace.to else ""
        self._emit(RouteChanged(address=address, trace=what, via=via, why=why))
        if what is RouteTrace.REFUSED:
            self._emit(RouteConflictBegan(address=address, why=f"{why}; it is left alone"))

    def _publish_client(self, prefix: Prefix, news: _News) -> None:
        installed = self._fib.installed_since().get(prefix, -inf)
        events = self._tracker.receive(
            prefix,
            self._rib.best(prefix),
            trio.current_time(),
            wall_clock=self._wall_clock(),
            routed_after=installed - news.heard if installed >= news.heard else None,
            why=news.why,
        )
        for event in events:
            self._emit(event)

    def _publish_conflict(self, prefix: Prefix) -> None:
        conflict = self._rib.address_conflict(prefix)
        if conflict is None:
            if prefix in self._conflicts:
                self._conflicts.remove(prefix)
                self._emit(PoolConflictEnded(address=prefix.short))
        elif prefix not in self._conflicts:
            self._conflicts.add(prefix)
            best, other = conflict
            self._emit(
                PoolConflictBegan(
                    address=prefix.short,
                    client=printable_name(best.advertisement.name),
                    other_client=printable_name(other.advertisement.name),
                    to_node=best.node,
                    other_node=other.node,
                )
            )
