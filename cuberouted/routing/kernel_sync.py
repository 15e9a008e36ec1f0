"""Keeps the kernel's routes equal to the desired ones: `fib` computes the changes, the kernel
makes them.

All changes are made under one lock, so that the kernel and its mirror in `Fib` change together.
A task that waits for the lock can be cancelled; once changes are being applied, they are applied
to the end (`kernel_api.KernelApi.apply`).
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from cuberouted.events import Emit, NodeProblem, RouteTrace
from cuberouted.model import Prefix
from cuberouted.routing.fib import Fib, Trace
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.nexthops import Target
from cuberouted.routing.types import Change, ChangeError, Nexthop, describe
from cuberouted.util.lock import FastPathLock
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

T = TypeVar("T")

CHUNK_PREFIXES = 1000
"""Prefixes that are compared before other tasks run: less than ten milliseconds of work."""

EXPECTED_ERRORS = frozenset({errno.EEXIST, errno.ESRCH, errno.ENOENT})
"""Errors that `Fib.acknowledge` handles: a foreign object in the way, or one already gone."""

MAX_ROUNDS = 8
"""How often a nexthop id that another process uses makes us try the next one, in one change."""


class KernelSync:
    """Applies the changes of one `Fib` to one kernel.

    *on_out_of_sync* is called when the kernel is not as mirrored; `rescan` is needed then. *emit*
    publishes errors of the kernel.
    """

    def __init__(
        self,
        kernel: KernelApi,
        metric: int,
        on_out_of_sync: Callable[[], None],
        emit: Emit,
    ) -> None:
        self.fib = Fib(metric)
        self.on_targets_set: Callable[[], None] = lambda: None
        """Called when ``fib`` has the requested targets, before the kernel has them."""
        self.on_traces: Callable[[], None] = lambda: None
        """Called when ``fib.traces`` has new entries."""
        self.errors: Counter[int] = Counter()
        """How often the kernel has refused what it should not, by errno; 0: it has no number."""
        self._kernel = kernel
        self._on_out_of_sync = on_out_of_sync
        self._emit = emit
        self._lock = FastPathLock()
        self._requested: dict[Prefix, Target | None] = {}  # in order
        self._being_set: Mapping[Prefix, Target | None] = {}
        self._conflicts: set[Prefix] = set()  # as traced
        self._log_limit = LogRateLimit()

    @property
    def busy(self) -> bool:
        """Whether requested changes are not in the kernel yet."""
        return self._lock.locked() or bool(self._requested)

    def request(self, targets: Mapping[Prefix, Target | None]) -> None:
        """Set where these prefixes should lead; `sync` carries it into the kernel, in order."""
        if self._requested:
            for prefix in targets:
                self._requested.pop(prefix, None)  # the later request counts for the order, too
        self._requested.update(targets)

    def is_pending(self, prefix: Prefix) -> bool:
        """Whether ``fib`` does not have the requested target of *prefix* yet."""
        return prefix in self._requested or prefix in self._being_set

    async def sync(self) -> None:
        """Make the kernel right for all requested prefixes. Return when it is.

        Yields only while another task holds the lock, and between the chunks of many changes.
        If it is cancelled, the next call or the next scan makes up for it.
        """
        tracks = self.fib.tracks
        if not any(target is not None or tracks(p) for p, target in self._requested.items()):
            self._requested.clear()  # clients of this host: no route leads to them
            self.on_targets_set()
            return
        async with self._lock:  # also if another task took our requests: it may still apply them
            requested, self._requested = self._requested, {}
            if requested:
                self._being_set = requested
                for chunk in _chunks(tuple(requested.items())):
                    self.fib.set_desired(chunk)
                    if len(chunk) == CHUNK_PREFIXES:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                self._being_set = {}
                self.on_targets_set()
                await self._try_to_update(tuple(requested))

    @asynccontextmanager
    async def withdraw_first(self, name: str) -> AsyncIterator[None]:
        """Remove all clients' routes to neighbour *name* at once, and keep them away meanwhile."""
        self.fib.nexthops.suppress(name)
        try:
            async with self._lock:
                await self._try_to_update(())
            yield
        finally:
            self.fib.nexthops.unsuppress(name)

    async def rescan(
        self,
        resolved: Mapping[tuple[str, int], ResolvedNexthop],
        sources: Sequence[tuple[Prefix, bytes]],
    ) -> list[Prefix]:
        """Dump everything of ours in the kernel, and make it right.

        Return the routes that were missing though we had not removed them, and are back.

        Raises:
          KernelError: the kernel could not be dumped or changed.
        """
        async with self._lock:
            before = self.fib.installed
            await self._dump(resolved, sources)
            missing = [prefix for prefix in before if prefix not in self.fib.installed]
            await self._update(self.fib.prefixes())
            return [prefix for prefix in missing if prefix in self.fib.installed]

    async def adopt(
        self,
        resolved: Mapping[tuple[str, int], ResolvedNexthop],
        sources: Sequence[tuple[Prefix, bytes]],
    ) -> Mapping[Target, Sequence[Prefix]]:
        """Dump everything of ours in the kernel without changing it. Return the routes by target.

        Raises:
          KernelError: the kernel could not be dumped.
        """
        async with self._lock:
            await self._dump(resolved, sources)
        return self.fib.adopted()

    async def retry(self, prefixes: Iterable[Prefix]) -> None:
        """Foreign routes to *prefixes* have gone: install ours where one was in the way."""
        freed = tuple(prefix for prefix in prefixes if self.fib.tracks(prefix))
        if freed:
            async with self._lock:
                await self._try_to_update(freed)

    async def _dump(
        self,
        resolved: Mapping[tuple[str, int], ResolvedNexthop],
        sources: Sequence[tuple[Prefix, bytes]],
    ) -> None:
        state = await self._kernel.dump()
        strays = self.fib.resync(state, resolved, sources, trio.current_time())
        await self._kernel.apply(strays)

    async def _try_to_update(self, prefixes: Sequence[Prefix]) -> None:
        try:
            await self._update(prefixes)
        except KernelError as error:
            # which changes were made is unknown until the next scan
            self.errors[error.errno] += 1
            suppressed = self._log_limit.allow("kernel", trio.current_time())
            if suppressed is not None:
                why = f"{error}; scanning again{suppressed_note(suppressed)}"
                self._emit(NodeProblem(what="kernel", why=why))
            self._on_out_of_sync()

    async def _update(self, prefixes: Sequence[Prefix]) -> None:
        for chunk in _chunks(prefixes):
            await self._update_chunk(chunk)
            if len(chunk) == CHUNK_PREFIXES:
                await trio.lowlevel.cancel_shielded_checkpoint()
        unused = self.fib.unused_nexthops()
        if unused:
            errors = await self._kernel.apply(unused)
            self.fib.acknowledge(unused, errors, trio.current_time())
            self._log_errors(errors)
        self._trace_conflicts()
        if self.fib.traces:
            self.on_traces()
        if self.fib.out_of_sync:
            self._on_out_of_sync()

    async def _update_chunk(self, prefixes: Iterable[Prefix]) -> None:
        for _ in range(MAX_ROUNDS):
            changes = self.fib.changes(prefixes)
            if not changes:
                break
            # first the nexthop objects: a route would lead to the object of another process
            objects = list(itertools.takewhile(lambda c: isinstance(c.what, Nexthop), changes))
            if objects and (again := await self._make(objects)):
                prefixes = {*prefixes, *again}
                continue
            prefixes = await self._make(changes[len(objects) :])
            if not prefixes:
                break
        else:
            self._on_out_of_sync()  # a dump shows all ids that are taken

    async def _make(self, changes: Sequence[Change]) -> set[Prefix]:
        """Make *changes*. Return the prefixes for which other changes have to be made."""
        errors = await self._kernel.apply(changes)
        again = self.fib.acknowledge(changes, errors, trio.current_time())
        self._log_errors(errors)
        return again

    def _log_errors(self, errors: Iterable[ChangeError]) -> None:
        for number, group in itertools.groupby(errors, key=lambda error: error.errno):
            first, *more = group
            if number in EXPECTED_ERRORS:
                continue
            self.errors[number] += 1 + len(more)
            suppressed = self._log_limit.allow(f"errno {number}", trio.current_time())
            if suppressed is not None:
                what = f"{describe(first.change.what)}{f' and {len(more)} more' if more else ''}"
                error = first.message or os.strerror(number)
                note = suppressed_note(suppressed)
                why = f"cannot {first.change.op.value} {what}: {error}; trying again{note}"
                self._emit(NodeProblem(what="kernel", why=why))

    def _trace_conflicts(self) -> None:
        refused, known = self.fib.refused(), self._conflicts
        if not (refused or known):
            return
        for prefix, why in refused.items():
            if prefix not in known:
                self.fib.traces.append(Trace(prefix, RouteTrace.REFUSED, None, why))
        for prefix in known - refused.keys():
            self.fib.traces.append(Trace(prefix, None))
        self._conflicts = set(refused)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """*items* in chunks of CHUNK_PREFIXES; one empty chunk if there are none."""
    for start in range(0, max(len(items), 1), CHUNK_PREFIXES):
        yield items[start : start + CHUNK_PREFIXES]
