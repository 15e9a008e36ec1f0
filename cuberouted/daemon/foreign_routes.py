"""Watches the foreign routes: which of them carry packets elsewhere than the RIB says.

A shell around `routing.conflicts`. A search runs when rules, foreign routes or the RIB have
changed, and only while there are foreign routes that may matter.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import trio

from cuberouted.daemon.node import Node
from cuberouted.model import MAIN_TABLE, Prefix
from cuberouted.routing.conflict_text import describe_conflict, describe_intruders, describe_route
from cuberouted.routing.conflicts import Claims, Conflict, Conflicts, Search
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.routing.kernel_sync import MAX_LOGGED_CONFLICTS
from cuberouted.routing.lookup import Lookup, PrefixLengths
from cuberouted.routing.neighbours import ResolvedNexthop, local_neighbour
from cuberouted.routing.rib import RibRoute
from cuberouted.routing.types import ForeignRoute, Link, links_by_name
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note
from cuberouted.util.tasks import Signal

log = logging.getLogger(__name__)

MIN_SEARCH_INTERVAL, MAX_SEARCH_INTERVAL = 0.05, 1.0
"""Seconds between two searches. The interval doubles while changes keep coming."""

CHUNK_PROBES = 200
"""Prefixes that are judged before other tasks run: some two milliseconds of work."""

CHUNK_CLAIMS = 1000
"""Prefixes that are sorted before other tasks run: some five milliseconds of work."""


class ForeignRoutes:
    """The foreign routes of one kernel, and their conflicts with the RIB of *node*.

    Our routes are in *table*, with *metric*. ``conflicts``: a sentence for each foreign route
    in the way; ``cut_off``: the prefixes that they cut off. Both are of the last search.
    """

    def __init__(self, kernel: KernelApi, node: Node, table: int, metric: int) -> None:
        self.conflicts: Mapping[ForeignRoute, str] = {}
        self.cut_off: frozenset[Prefix] = frozenset()
        self._kernel = kernel
        self._node = node
        self._table = table
        self._lookup = Lookup(table, metric, node.kernel_sync.fib.longest)
        self._lock = trio.Lock()
        self._changed = Signal()
        self._devices: Mapping[int, str] = {}
        self._data_devices: Collection[int] = ()
        self._claims: Claims | None = None
        self._rib_changes = 0
        self._watched = False
        self._log_limit = LogRateLimit(burst=2)
        node.kernel_sync.on_targets_set = self._on_rib_change

    @property
    def intruders(self) -> str | None:
        """What to say of foreign routes in our own table, if that is not the main one."""
        if self._table == MAIN_TABLE:
            return None
        routes = sorted(r for r in self._lookup.routes() if r.table == self._table)
        return describe_intruders(routes, self._devices, self._table) if routes else None

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
        async with self._lock:
            self._lookup.set_rules(await self._kernel.dump_rules())
            self._lookup.set_routes(await self._kernel.foreign_routes(self.matters))
        self._changed.set()

    async def change(self, added: Sequence[ForeignRoute], deleted: Sequence[ForeignRoute]) -> None:
        """Foreign routes came and went: install ours where one was in the way."""
        async with self._lock:  # after a dump in progress, which may be older than this
            self._lookup.changed(filter(self.matters, added), deleted)
        self._changed.set()
        await self._node.kernel_sync.retry(r.prefix for r in deleted if r.table == self._table)

    def matters(self, route: ForeignRoute) -> bool:
        """Whether *route* may carry packets to prefixes of the mesh, or is in our own table."""
        if route.table == self._table != MAIN_TABLE:
            return True
        allowed = self._node.host.policy.allowed
        return any(n.contains(route.prefix) or route.prefix.contains(n) for n in allowed)

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
        search = Search(self._lookup, self._node.rib.best, self._nexthop, self._data_devices)
        suspects = search.suspects()
        self._watched = bool(suspects)
        claims = await self._all_claims() if suspects else Claims()
        found = Conflicts()
        async with self._lock:  # no route comes or goes meanwhile
            for probes in _chunks(search.probes(suspects, claims)):
                self._watched = True
                for prefix in probes:
                    conflict = search.judge(prefix, claims)
                    if conflict is not None:
                        found.add(*conflict)
                await trio.lowlevel.checkpoint()
        self._report(found.result(search))
        self.cut_off = found.prefixes()

    async def _all_claims(self) -> Claims:
        if self._claims is not None:
            return self._claims
        changes = self._rib_changes
        by_size: dict[int, list[Prefix]] = {4: [], 16: []}
        lengths = PrefixLengths()
        for chunk in _chunks(iter(self._node.rib.prefixes()), CHUNK_CLAIMS):
            chunk.sort()  # so that the sort at the end only merges
            for prefix in chunk:
                by_size[len(prefix.address)].append(prefix)
                lengths.add(prefix)
            await trio.lowlevel.checkpoint()
        for prefixes in by_size.values():
            prefixes.sort()
        claims = Claims(by_size, lengths)
        if changes == self._rib_changes:
            self._claims = claims
        return claims

    def _nexthop(self, route: RibRoute) -> ResolvedNexthop | None:
        prefix, name = route.advertisement.prefix, route.source.name
        if self._node.kernel_sync.is_pending(prefix):
            return None  # it is searched again when the FIB has what the RIB has
        neighbour = local_neighbour(name) if route.leads_here else name
        return self._node.host.nexthops.get((neighbour, prefix.family))

    def _report(self, conflicts: Mapping[ForeignRoute, Conflict]) -> None:
        texts = {
            route: describe_conflict(conflict, self._devices, self._data_devices, self._table)
            for route, conflict in conflicts.items()
        }
        before, self.conflicts = self.conflicts, texts
        new = [route for route in texts if route not in before]
        for route in new[:MAX_LOGGED_CONFLICTS]:
            self._log(logging.WARNING, route, texts[route])
        if len(new) > MAX_LOGGED_CONFLICTS:
            more = len(new) - MAX_LOGGED_CONFLICTS
            log.warning("%d more foreign routes are in the way; see `cuberouted status`", more)
        ended = [route for route in before if route not in texts]
        for route in ended[:MAX_LOGGED_CONFLICTS]:
            text = f"{describe_route(route, self._devices)}: no longer in the way"
            self._log(logging.INFO, route, text)
        if len(ended) > MAX_LOGGED_CONFLICTS:
            more = len(ended) - MAX_LOGGED_CONFLICTS
            log.info("%d more foreign routes are no longer in the way", more)

    def _log(self, level: int, route: ForeignRoute, text: str) -> None:
        suppressed = self._log_limit.allow(str(route.prefix), trio.current_time())
        if suppressed is not None:
            log.log(level, "foreign route %s%s", text, suppressed_note(suppressed))


def _chunks(prefixes: Iterator[Prefix], size: int = CHUNK_PROBES) -> Iterator[list[Prefix]]:
    while chunk := list(islice(prefixes, size)):
        yield chunk
