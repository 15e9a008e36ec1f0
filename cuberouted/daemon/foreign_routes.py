"""Watches the foreign routes: which of them carry packets elsewhere than the RIB says.

A shell around `routing.conflicts`. A search runs when rules, foreign routes or the RIB have
changed, and only while there are foreign routes that may matter.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from itertools import islice
from typing import TypeVar

import trio

from cuberouted.daemon.node import Node
from cuberouted.events import (
    Emit,
    ForeignRouteConflictBegan,
    ForeignRouteConflictEnded,
    NodeProblem,
    RouteTrace,
)
from cuberouted.model import MAIN_TABLE, Prefix
from cuberouted.routing.conflict_text import describe_conflict, describe_intruders, describe_route
from cuberouted.routing.conflicts import Conflicts, Search, SortedPrefixes, order
from cuberouted.routing.fib import Trace
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.routing.lookup import Lookup
from cuberouted.routing.neighbours import ResolvedNexthop, local_neighbour
from cuberouted.routing.rib import RibRoute
from cuberouted.routing.types import ForeignRoute, Link, links_by_name
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note
from cuberouted.util.tasks import Signal

T = TypeVar("T")

MAX_PUBLISHED = 5
"""Conflicts of one search that are published one by one, and within a minute."""

MIN_SEARCH_INTERVAL, MAX_SEARCH_INTERVAL = 0.05, 1.0
"""Seconds between two searches. The interval doubles while changes keep coming."""

CHUNK_PROBES = 100
"""Prefixes that are judged before other tasks run: some milliseconds of work."""

CHUNK_CLAIMS = 1000
"""Prefixes that are sorted before other tasks run: some five milliseconds of work."""


class ForeignRoutes:
    """The foreign routes of one kernel, and their conflicts with the RIB of *node*.

    Our routes are in *table*, with *metric*. ``conflicts``: a sentence for each foreign route
    in the way; ``cut_off``: the prefixes that they cut off. Both are of the last search.
    *request_scan* is called when ``is_stale``: the routes have to be dumped again.
    """

    def __init__(
        self,
        kernel: KernelApi,
        node: Node,
        table: int,
        metric: int,
        request_scan: Callable[[], None],
        emit: Emit,
    ) -> None:
        self.conflicts: Mapping[ForeignRoute, str] = {}
        self.cut_off: AbstractSet[Prefix] = frozenset()
        self._kernel = kernel
        self._node = node
        self._table = table
        self._request_scan = request_scan
        self._emit = emit
        self._lookup = Lookup(table, metric, node.kernel_sync.fib.longest)
        self._lock = trio.Lock()
        self._changed = Signal()
        self._changes: list[tuple[Sequence[ForeignRoute], Sequence[ForeignRoute]]] = []
        self._devices: Mapping[int, str] = {}
        self._data_devices: Collection[int] = ()
        self._claims: SortedPrefixes | None = None
        self._rib_changes = 0
        self._watched = False
        self._limit = LogRateLimit(burst=MAX_PUBLISHED)  # all routes together
        self._summary_limit = LogRateLimit()
        node.kernel_sync.on_targets_set = self._on_rib_change

    @property
    def intruders(self) -> str | None:
        """What to say of foreign routes in our own table, if that is not the main one."""
        if self._table == MAIN_TABLE:
            return None
        routes = sorted(r for r in self._lookup.routes() if r.table == self._table)
        return describe_intruders(routes, self._devices, self._table) if routes else None

    @property
    def is_stale(self) -> bool:
        """Whether it is open which foreign routes the kernel takes."""
        return bool(self._lookup.uncertain)

    def around(self, prefix: Prefix) -> Sequence[ForeignRoute]:
        """Those to *prefix* and to networks around it, as the kernel would take them."""
        return [*self._lookup.around(prefix)]

    def set_links(self, links: Iterable[Link], data_interfaces: Collection[str]) -> None:
        """These are the links now, and the interfaces of this host's OpenVPN processes."""
        by_name = links_by_name(links)
        self._devices = {link.index: link.name for link in by_name.values()}
        self._data_devices = {by_name[name].index for name in data_interfaces if name in by_name}

    def request_search(self) -> None:
        """Search soon: neighbours are reached elsewhere."""
        self._changed.set()

    async def rescan(self) -> None:
        """Dump the rules and the foreign routes.

        Raises:
          KernelError: the kernel could not be dumped.
        """
        async with self._locked():
            self._lookup.set_rules(await self._kernel.dump_rules())
            routes = await self._kernel.foreign_routes(self.matters)
            for _ in self._lookup.set_routes(routes):
                await trio.lowlevel.checkpoint()
        self._changed.set()

    async def change(self, added: Sequence[ForeignRoute], deleted: Sequence[ForeignRoute]) -> None:
        """Foreign routes came and went: install ours where one was in the way."""
        await self._node.kernel_sync.retry(r.prefix for r in deleted if r.table == self._table)
        self._changes.append((added, deleted))
        if not self._lock.locked():
            async with self._locked():
                pass

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """No route comes or goes meanwhile. A dump may be older than what came and went."""
        async with self._lock:
            try:
                yield
            finally:
                while self._changes:
                    added, deleted = self._changes.pop(0)
                    for gone in _chunks(iter(deleted), CHUNK_CLAIMS):
                        self._lookup.changed((), gone)
                        await trio.lowlevel.checkpoint()
                    for new in _chunks(iter(added), CHUNK_CLAIMS):
                        self._lookup.changed(filter(self.matters, new), ())
                        await trio.lowlevel.checkpoint()
                    self._changed.set()
                    if self._lookup.uncertain:
                        self._request_scan()

    def matters(self, route: ForeignRoute) -> bool:
        """Whether *route* may carry packets to prefixes of the mesh, or is in our own table."""
        if route.table == self._table != MAIN_TABLE:
            return True
        networks = self._node.host.policy.acceptable
        return any(n.contains(route.prefix) or route.prefix.contains(n) for n in networks)

    async def run(self) -> None:
        """Search after each change, until cancelled."""
        interval = MIN_SEARCH_INTERVAL
        while True:
            await self._changed.wait()
            began = trio.current_time()
            await self._search()
            # a tenth of the time at most, also where a route covers 20,000 clients that roam
            await trio.sleep(max(interval, 9 * (trio.current_time() - began)))
            again = self._changed.is_set()
            interval = min(2 * interval, MAX_SEARCH_INTERVAL) if again else MIN_SEARCH_INTERVAL

    def _on_rib_change(self) -> None:
        self._claims = None
        self._rib_changes += 1
        if self._watched:
            self._changed.set()

    async def _search(self) -> None:
        async with self._locked():
            search, found = await self._found()
        await self._report(search, found)

    async def _found(self) -> tuple[Search, Conflicts]:
        search = Search(self._lookup, self._node.rib.best, self._nexthop, self._data_devices)
        for _ in search.survey():
            await trio.lowlevel.checkpoint()
        self._watched = bool(search.suspects)
        claims = await self._all_claims() if search.suspects else SortedPrefixes()
        found = Conflicts()
        for probes in _chunks(search.probes(claims)):
            self._watched = True
            for prefix in probes:
                conflict = search.judge(prefix, claims) if prefix is not None else None
                if conflict is not None:
                    found.add(*conflict)
            await trio.lowlevel.checkpoint()
        return search, found

    async def _all_claims(self) -> SortedPrefixes:
        if self._claims is not None:
            return self._claims
        changes = self._rib_changes
        claims = SortedPrefixes()
        for chunk in _chunks(iter(self._node.rib.prefixes()), CHUNK_CLAIMS):
            claims.add(chunk)
            await trio.lowlevel.checkpoint()
        claims.sort()
        if changes == self._rib_changes:
            self._claims = claims
        return claims

    def _nexthop(self, route: RibRoute) -> ResolvedNexthop | None:
        prefix, name = route.advertisement.prefix, route.source.name
        if self._node.kernel_sync.is_pending(prefix):
            return None  # it is searched again when the FIB has what the RIB has
        neighbour = local_neighbour(name) if route.leads_here else name
        return self._node.host.nexthops.get((neighbour, prefix.family))

    async def _report(self, search: Search, found: Conflicts) -> None:
        def sentence(route: ForeignRoute) -> str:
            conflict = found.conflict(route, search)
            return describe_conflict(conflict, self._devices, self._data_devices, self._table)

        routes: list[ForeignRoute] = []
        for chunk in _chunks(iter(found), CHUNK_CLAIMS):
            routes += sorted(chunk, key=order)
            await trio.lowlevel.checkpoint()
        routes.sort(key=order)  # only merges
        await trio.lowlevel.checkpoint()
        before, self.conflicts = self.conflicts, _Sentences(dict.fromkeys(routes), sentence)
        cut_off, self.cut_off = self.cut_off, found.prefixes()
        await trio.lowlevel.checkpoint()
        new = [route for route in routes if route not in before]
        for route in _first(new):
            note = self._note()
            if note is not None:
                why = sentence(route) + note
                self._emit(ForeignRouteConflictBegan(address=route.prefix.short, why=why))
        self._publish_rest(len(new), "more are in the way")
        await trio.lowlevel.checkpoint()
        ended = [route for route in before if route not in self.conflicts]
        for route in _first(ended):
            note = self._note()
            if note is not None:
                why = describe_route(route, self._devices)
                self._emit(ForeignRouteConflictEnded(address=route.prefix.short, why=why + note))
        self._publish_rest(len(ended), "more are no longer in the way")
        await self._trace_shadowed(self.cut_off - cut_off)

    def _note(self) -> str | None:
        """The end of a sentence, or None if too many have been published within a minute."""
        suppressed = self._limit.allow("", trio.current_time())
        return None if suppressed is None else suppressed_note(suppressed)

    def _publish_rest(self, count: int, what: str) -> None:
        if count > MAX_PUBLISHED:
            suppressed = self._summary_limit.allow("", trio.current_time())
            if suppressed is not None:
                why = f"{count - MAX_PUBLISHED} {what}; see `cuberouted status`"
                self._emit(
                    NodeProblem(what="foreign routes", why=why + suppressed_note(suppressed))
                )

    async def _trace_shadowed(self, prefixes: Iterable[Prefix]) -> None:
        kernel_sync = self._node.kernel_sync
        for chunk in _chunks(iter(prefixes), CHUNK_CLAIMS):
            installed = kernel_sync.fib.installed
            kernel_sync.fib.traces.extend(
                Trace(prefix, RouteTrace.SHADOWED, None, "a foreign route carries its packets")
                for prefix in chunk
                if prefix in installed
            )
            kernel_sync.on_traces()
            await trio.lowlevel.checkpoint()


class _Sentences(Mapping[ForeignRoute, str]):
    """A sentence on each of *routes*, made when it is asked for: there may be thousands."""

    def __init__(
        self, routes: Collection[ForeignRoute], sentence: Callable[[ForeignRoute], str]
    ) -> None:
        self._routes = routes
        self._sentence = sentence

    def __getitem__(self, route: ForeignRoute) -> str:
        return self._sentence(route)

    def __contains__(self, route: object) -> bool:
        return route in self._routes

    def __iter__(self) -> Iterator[ForeignRoute]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)


def _first(routes: Sequence[ForeignRoute]) -> Sequence[ForeignRoute]:
    return routes[:MAX_PUBLISHED]


def _chunks(items: Iterator[T], size: int = CHUNK_PROBES) -> Iterator[list[T]]:
    while chunk := list(islice(items, size)):
        yield chunk
