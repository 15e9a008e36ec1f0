"""Keeps the kernel equal to what the RIB says. A shell: `fib` decides, the kernel does.

Everything that changes the kernel goes through one lock, so that the mirror in `Fib` and
the kernel move together. What waits for the lock can be cancelled; what has it is done to
its end, for the kernel cuts no change in two (`port.KernelApi.apply`).
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
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.nexthops import Target
from cuberouted.routing.types import ChangeError, ForeignRoute, describe
from cuberouted.util.lock import FastPathLock
from cuberouted.util.ratelimit import LogRateLimit

log = logging.getLogger(__name__)

CHUNK_PREFIXES = 2000
"""Prefixes that are looked at without a pause: some ten milliseconds of work."""

MAX_LOGGED_CONFLICTS = 5
"""Conflicts that are logged one by one."""

EXPECTED_ERRORS = frozenset({errno.EEXIST, errno.ESRCH, errno.ENOENT})
"""Refusals that `fib` understands: somebody else's route, or one that is gone already."""

MAX_ROUNDS = 8
"""How often a nexthop id in use sends us to the next one, within one change."""


class KernelSync:
    """One kernel, one `Fib`.

    ``target_of`` tells where a prefix should lead right now. ``on_stale`` is called when the
    kernel turns out not to be as we believed: somebody should `rescan`.
    """

    def __init__(
        self,
        kernel: KernelApi,
        metric: int,
        target_of: Callable[[Prefix], Target | None],
        on_stale: Callable[[], None],
    ) -> None:
        self._kernel = kernel
        self._target_of = target_of
        self._on_out_of_sync = on_stale
        self._lock = FastPathLock()
        self._moved: dict[Prefix, None] = {}  # in order
        self._reported: set[Prefix] = set()
        self._log_limit = LogRateLimit()
        self.fib = Fib(metric)

    async def sync(self, moved: Iterable[Prefix]) -> None:
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
    async def withdraw_first(self, name: str) -> AsyncIterator[None]:
        """No clients' route leads to neighbour *name* meanwhile; those that did go at once."""
        self.fib.nexthops.suppress(name)
        try:
            async with self._lock:
                await self._try_to_put_right(())
            yield
        finally:
            self.fib.nexthops.unsuppress(name)

    async def rescan(
        self,
        paths: Mapping[tuple[str, int], ResolvedNexthop],
        sources: Sequence[tuple[Prefix, bytes]],
    ) -> None:
        """Read all that is ours in the kernel, and make everything right."""
        async with self._lock:
            await self._scan(paths, sources)
            await self._want(self.fib.prefixes())
            await self._put_right(self.fib.prefixes())

    async def adopt(
        self,
        paths: Mapping[tuple[str, int], ResolvedNexthop],
        sources: Sequence[tuple[Prefix, bytes]],
    ) -> Mapping[Target, Sequence[Prefix]]:
        """Read all that is ours, and change nothing yet. Returns whose the routes are."""
        async with self._lock:
            await self._scan(paths, sources)
        return self.fib.adopted()

    async def foreign_changed(
        self, added: Sequence[ForeignRoute], deleted: Sequence[ForeignRoute]
    ) -> None:
        """Others have changed routes beside ours: retry where one stood in our way."""
        self.fib.foreign_changed(added, deleted)
        self._report_conflicts()
        await self.sync(route.prefix for route in deleted)

    async def rescan_foreign(self, within: Callable[[Prefix], bool]) -> None:
        """Learn anew which routes of others stand beside ours."""
        found = await self._kernel.foreign_routes(within)
        self.fib.forget_foreign()
        self.fib.foreign_changed(found, ())
        self._report_conflicts()

    async def _scan(
        self,
        paths: Mapping[tuple[str, int], ResolvedNexthop],
        sources: Sequence[tuple[Prefix, bytes]],
    ) -> None:
        found = await self._kernel.dump()
        strays = self.fib.resync(found, paths, sources, trio.current_time())
        await self._kernel.apply(strays)

    def _concerns_us(self, prefix: Prefix) -> bool:
        return self.fib.tracks(prefix) or self._target_of(prefix) is not None

    async def _want(self, prefixes: Iterable[Prefix]) -> None:
        ordered = list(prefixes)
        for start in range(0, len(ordered), CHUNK_PREFIXES):
            if start:
                await trio.lowlevel.cancel_shielded_checkpoint()
            self.fib.set_desired(ordered[start : start + CHUNK_PREFIXES], self._target_of)

    async def _try_to_put_right(self, prefixes: Iterable[Prefix]) -> None:
        try:
            await self._put_right(prefixes)
        except KernelError as error:
            self._lose_track(error)

    async def _put_right(self, prefixes: Iterable[Prefix]) -> None:
        for _ in range(MAX_ROUNDS):
            changes = self.fib.changes(prefixes)
            if not changes:
                break
            refusals = await self._kernel.apply(changes)
            prefixes = self.fib.acknowledge(changes, refusals, trio.current_time())
            self._report_refusals(refusals)
            if not prefixes:
                break
        self._report_conflicts()
        if self.fib.stale:
            self._on_out_of_sync()

    def _lose_track(self, error: KernelError) -> None:
        # what became of the changes is not known: the next scan tells, and makes it right
        if self._log_limit.allow("kernel", trio.current_time()) is not None:
            log.warning("kernel: %s; looking again", error)
        self._on_out_of_sync()

    def _report_refusals(self, refusals: Iterable[ChangeError]) -> None:
        for number, group in itertools.groupby(refusals, key=lambda r: r.errno):
            first, *more = group
            quiet = self._log_limit.allow(f"refused {number}", trio.current_time())
            if number not in EXPECTED_ERRORS and quiet is not None:
                log.warning(
                    "kernel: cannot %s %s%s: %s; trying again",
                    first.change.op.value,
                    describe(first.change.what),
                    f" and {len(more)} more" if more else "",
                    first.why or os.strerror(number),
                )

    def _report_conflicts(self) -> None:
        conflicts = self.fib.conflicts()
        new = conflicts.keys() - self._reported
        for prefix in sorted(new)[:MAX_LOGGED_CONFLICTS]:
            log.warning("route %s: %s; that one is left alone", prefix, conflicts[prefix])
        if len(new) > MAX_LOGGED_CONFLICTS:
            log.warning("routes: %d more conflicts", len(new) - MAX_LOGGED_CONFLICTS)
        if self._reported and not conflicts:
            log.info("routes: all conflicts are over")
        self._reported = set(conflicts)
