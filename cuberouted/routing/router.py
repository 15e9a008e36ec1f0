"""Keeps the kernel equal to what the RIB says. A shell: `fib` decides, the kernel does.

Everything that changes the kernel goes through one lock, so that the mirror in `Fib` and
the kernel move together. What waits for the lock can be cancelled; what has it is done to
its end, for the kernel cuts no change in two (`port.KernelPort.apply`).
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from cuberouted.model import Prefix
from cuberouted.routing.fib import Fib
from cuberouted.routing.nexthops import Target
from cuberouted.routing.paths import Path
from cuberouted.routing.port import KernelError, KernelPort
from cuberouted.routing.values import ForeignRoute, Refusal, described
from cuberouted.util.lock import FastPathLock
from cuberouted.util.ratelimit import LogRateLimit

log = logging.getLogger(__name__)

SLICE = 2000
"""Prefixes that are looked at without a pause: some ten milliseconds of work."""

MOST_LINES = 5
"""Conflicts that are logged one by one."""

EXPECTED = frozenset({errno.EEXIST, errno.ESRCH, errno.ENOENT})
"""Refusals that `fib` understands: somebody else's route, or one that is gone already."""

MOST_ROUNDS = 8
"""How often a nexthop id in use sends us to the next one, within one change."""


class Router:
    """One kernel, one `Fib`.

    ``target_of`` tells where a prefix should lead right now. ``on_stale`` is called when the
    kernel turns out not to be as we believed: somebody should `rescan`.
    """

    def __init__(
        self,
        kernel: KernelPort,
        metric: int,
        target_of: Callable[[Prefix], Target | None],
        on_stale: Callable[[], None],
    ) -> None:
        self._kernel = kernel
        self._target_of = target_of
        self._on_stale = on_stale
        self._lock = FastPathLock()
        self._moved: dict[Prefix, None] = {}  # in order
        self._reported: set[Prefix] = set()
        self._log_limit = LogRateLimit()
        self.fib = Fib(metric)

    async def follow(self, moved: Iterable[Prefix]) -> None:
        """Make the kernel right for these prefixes. Returns when it is.

        Other tasks have a turn only while it waits for one of them, or between the parts of
        many changes. Where it is cancelled, the next call does what is left, or the next scan.
        """
        self._moved.update(dict.fromkeys(moved))
        if not any(map(self._concerns_us, self._moved)):  # clients of our own, mostly
            self._moved.clear()
            return
        async with self._lock:  # also when nothing is left: somebody may be at ours
            prefixes, self._moved = self._moved, {}
            if prefixes:
                await self._want(prefixes)
                await self._try_to_put_right(prefixes)

    @asynccontextmanager
    async def without(self, name: str) -> AsyncIterator[None]:
        """No clients' route leads to neighbour *name* meanwhile; those that did go at once."""
        self.fib.nexthops.shun(name)
        try:
            async with self._lock:
                await self._try_to_put_right(())
            yield
        finally:
            self.fib.nexthops.allow(name)

    async def rescan(
        self, paths: Mapping[tuple[str, int], Path], sources: Sequence[tuple[Prefix, bytes]]
    ) -> None:
        """Read all that is ours in the kernel, and make everything right."""
        async with self._lock:
            await self._scan(paths, sources)
            await self._want(self.fib.everything())
            await self._put_right(self.fib.everything())

    async def adopt(
        self, paths: Mapping[tuple[str, int], Path], sources: Sequence[tuple[Prefix, bytes]]
    ) -> Mapping[Target, Sequence[Prefix]]:
        """Read all that is ours, and change nothing yet. Returns whose the routes are."""
        async with self._lock:
            await self._scan(paths, sources)
        return self.fib.adopted()

    async def heed(
        self, appeared: Sequence[ForeignRoute], vanished: Sequence[ForeignRoute]
    ) -> None:
        """Others have changed routes beside ours: retry where one stood in our way."""
        self.fib.foreign(appeared, vanished)
        self._report_conflicts()
        await self.follow(route.prefix for route in vanished)

    async def look_for_foreign(self, within: Callable[[Prefix], bool]) -> None:
        """Learn anew which routes of others stand beside ours."""
        found = await self._kernel.foreign_routes(within)
        self.fib.forget_foreign()
        self.fib.foreign(found, ())
        self._report_conflicts()

    async def _scan(
        self, paths: Mapping[tuple[str, int], Path], sources: Sequence[tuple[Prefix, bytes]]
    ) -> None:
        found = await self._kernel.dump()
        strays = self.fib.scanned(found, paths, sources, trio.current_time())
        await self._kernel.apply(strays)

    def _concerns_us(self, prefix: Prefix) -> bool:
        return self.fib.concerns(prefix) or self._target_of(prefix) is not None

    async def _want(self, prefixes: Iterable[Prefix]) -> None:
        ordered = list(prefixes)
        for start in range(0, len(ordered), SLICE):
            if start:
                await trio.lowlevel.cancel_shielded_checkpoint()
            self.fib.want(ordered[start : start + SLICE], self._target_of)

    async def _try_to_put_right(self, prefixes: Iterable[Prefix]) -> None:
        try:
            await self._put_right(prefixes)
        except KernelError as error:
            self._lose_track(error)

    async def _put_right(self, prefixes: Iterable[Prefix]) -> None:
        for _ in range(MOST_ROUNDS):
            changes = self.fib.changes(prefixes)
            if not changes:
                break
            refusals = await self._kernel.apply(changes)
            prefixes = self.fib.done(changes, refusals, trio.current_time())
            self._report_refusals(refusals)
            if not prefixes:
                break
        self._report_conflicts()
        if self.fib.stale:
            self._on_stale()

    def _lose_track(self, error: KernelError) -> None:
        # what became of the changes is not known: the next scan tells, and makes it right
        if self._log_limit.due("kernel", trio.current_time()) is not None:
            log.warning("kernel: %s; looking again", error)
        self._on_stale()

    def _report_refusals(self, refusals: Iterable[Refusal]) -> None:
        for number, group in itertools.groupby(refusals, key=lambda r: r.errno):
            first, *more = group
            quiet = self._log_limit.due(f"refused {number}", trio.current_time())
            if number not in EXPECTED and quiet is not None:
                log.warning(
                    "kernel: cannot %s %s%s: %s; trying again",
                    first.change.verb.value,
                    described(first.change.what),
                    f" and {len(more)} more" if more else "",
                    first.why or os.strerror(number),
                )

    def _report_conflicts(self) -> None:
        conflicts = self.fib.conflicts()
        new = conflicts.keys() - self._reported
        for prefix in sorted(new)[:MOST_LINES]:
            log.warning("route %s: %s; that one is left alone", prefix, conflicts[prefix])
        if len(new) > MOST_LINES:
            log.warning("routes: %d more conflicts", len(new) - MOST_LINES)
        if self._reported and not conflicts:
            log.info("routes: all conflicts are over")
        self._reported = set(conflicts)
