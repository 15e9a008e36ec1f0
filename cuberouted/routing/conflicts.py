"""Finds the foreign routes that carry packets elsewhere than to where the RIB has their client.

Pure. Without foreign routes there is nothing to look at; with some, only the claims (the best
routes of the RIB) inside them. `Lookup` answers where the kernel sends a prefix.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

import attrs

from cuberouted.model import Kind, Prefix
from cuberouted.routing.lookup import Lookup, PrefixLengths, leads_to
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.rib import RibRoute, is_vacant
from cuberouted.routing.types import RTN_THROW, RTN_UNICAST, ForeignRoute

CHUNK_ROUTES = 1000
"""Foreign routes that are looked at in one step: some milliseconds of work."""


@attrs.frozen
class Conflict:
    """A foreign route, and the first and number of the RIB's routes that it cuts off.

    ``first`` is of the best, sorted by prefix. ``wider``: the foreign route is a network around
    a prefix of this host to which no other route leads.
    """

    route: ForeignRoute
    first: RibRoute
    count: int
    wider: bool


@attrs.frozen
class SortedPrefixes:
    """Prefixes by the size of their addresses, sorted once all have been added."""

    by_size: Mapping[int, list[Prefix]] = attrs.field(factory=lambda: {4: [], 16: []}, init=False)
    lengths: PrefixLengths = attrs.field(factory=PrefixLengths, init=False)

    def add(self, prefixes: Iterable[Prefix]) -> None:
        """Add *prefixes*, which are new. `sort` is needed then."""
        for prefix in sorted(prefixes):  # so that `sort` only merges
            self.by_size[len(prefix.address)].append(prefix)
            self.lengths.add(prefix)

    def sort(self) -> None:
        """All have been added."""
        for prefixes in self.by_size.values():
            prefixes.sort()

    def __iter__(self) -> Iterator[Prefix]:
        for prefixes in self.by_size.values():
            yield from prefixes

    def is_covered(self, prefix: Prefix) -> bool:
        """Whether one of these is *prefix*, or a network around it."""
        prefixes = self.by_size[len(prefix.address)]
        for network in self.lengths.around(prefix):
            position = bisect_left(prefixes, network)
            if prefixes[position : position + 1] == [network]:
                return True
        return False

    def inside(self, network: Prefix, without: Iterable[Prefix] = ()) -> Iterator[Prefix | None]:
        """The prefixes inside *network*, but not those inside the networks *without*, sorted.

        None after each of those, so that no step is long.
        """
        prefixes = self.by_size[len(network.address)]
        position, end = _range(prefixes, network)
        for hole in without:
            start, stop = _range(prefixes, hole)
            yield from prefixes[position : max(position, start)]
            position = max(position, stop)
            yield None
        yield from prefixes[position:end]


def _range(prefixes: Sequence[Prefix], network: Prefix) -> tuple[int, int]:
    address, length = network
    bits = 8 * len(address)
    last = int.from_bytes(address) | ((1 << (bits - length)) - 1)
    return (
        bisect_left(prefixes, network),
        bisect_left(prefixes, Prefix(last.to_bytes(len(address)), bits + 1)),
    )


@attrs.frozen
class Search:
    """One search: `survey`, then `judge` each of `probes`. *best*: the RIB's.

    *nexthop*: where a route of the RIB leads, None: nowhere, or not known yet. *data_devices*:
    the devices of this host's OpenVPN processes. OpenVPN's own routes and the connected ones lead
    there. ``suspects``: the foreign routes that have to be compared with the claims inside them.
    """

    lookup: Lookup
    best: Callable[[Prefix], RibRoute | None]
    nexthop: Callable[[RibRoute], ResolvedNexthop | None]
    data_devices: Collection[int]
    suspects: list[ForeignRoute] = attrs.field(factory=list, init=False)
    _belonging: dict[int, SortedPrefixes] = attrs.field(factory=dict, init=False)  # by table

    def survey(self) -> Iterator[None]:
        """Find the suspects. It yields so that no step is long."""
        routes = self.lookup.routes()
        while chunk := list(islice(routes, CHUNK_ROUTES)):
            belonging: dict[int, list[Prefix]] = {}
            for route in chunk:
                if self._belongs_here(route):
                    belonging.setdefault(route.table, []).append(route.prefix)
                elif self._is_suspect(route):
                    self.suspects.append(route)
            for table, prefixes in belonging.items():
                self._belonging.setdefault(table, SortedPrefixes()).add(prefixes)
            yield
        for sorted_prefixes in self._belonging.values():
            sorted_prefixes.sort()

    def probes(self, claims: SortedPrefixes) -> Iterator[Prefix | None]:
        """The prefixes to `judge`. *claims* may be empty if there are no suspects.

        None: nothing to judge, but a moment has passed.
        """
        for belonging in self._belonging.values():
            yield from belonging
        for suspect in self.suspects:
            yield suspect.prefix
            yield from claims.inside(suspect.prefix, self._holes(suspect))

    def judge(self, prefix: Prefix, claims: SortedPrefixes) -> tuple[ForeignRoute, RibRoute] | None:
        """The foreign route that carries *prefix* elsewhere than its claim, with that claim."""
        claim = self._claim(prefix, claims)
        if claim is None or is_vacant(claim):
            return None
        if claim.leads_here and claim.advertisement.kind in (Kind.SERVER, Kind.SERVICE):
            return None  # an address of this host
        nexthop = self.nexthop(claim)
        route = self.lookup.find(prefix) if nexthop else None
        if nexthop is None or route is None or route in self.lookup.uncertain:
            return None
        if leads_to(route, nexthop.device, nexthop.gateway):
            return None
        inside = claim.advertisement.prefix.length < route.prefix.length
        if inside and self._belongs_here(route):
            return None  # the network of clients of this host that are offline
        if not route.prefix.length and not self.lookup.is_before_ours(route):
            return None
        return route, claim

    def is_routed_here(self, prefix: Prefix) -> bool:
        """Whether a route leads all of *prefix* to an OpenVPN process of this host."""
        return any(belonging.is_covered(prefix) for belonging in self._belonging.values())

    def _is_suspect(self, route: ForeignRoute) -> bool:
        return (
            route.type != RTN_THROW
            and self.lookup.is_consulted(route)
            # a default route is the last one of its table, where it is not in an earlier one
            and (route.prefix.length > 0 or self.lookup.is_before_ours(route))
        )

    def _holes(self, suspect: ForeignRoute) -> Iterator[Prefix]:
        """Networks inside *suspect* whose own route in the same table wins, sorted."""
        belonging = self._belonging.get(suspect.table)
        if belonging is None or self.lookup.is_before_ours(suspect):
            return
        for prefix in belonging.inside(suspect.prefix):
            if prefix is not None:
                yield prefix

    def _claim(self, prefix: Prefix, claims: SortedPrefixes) -> RibRoute | None:
        best = self.best(prefix)
        if best is not None:
            return best
        found = map(self.best, claims.lengths.around(prefix))
        return next((route for route in found if route is not None), None)

    def _belongs_here(self, route: ForeignRoute) -> bool:
        return (
            route.type == RTN_UNICAST
            and route.device in self.data_devices
            and not self.lookup.is_before_ours(route)
        )


@attrs.define
class Conflicts:
    """Collects what `Search.judge` finds, by foreign route."""

    _found: dict[ForeignRoute, dict[Prefix, RibRoute]] = attrs.field(factory=dict, init=False)
    _cut_off: set[Prefix] = attrs.field(factory=set, init=False)

    def add(self, route: ForeignRoute, claim: RibRoute) -> None:
        """*route* cuts *claim* off."""
        prefix = claim.advertisement.prefix
        self._found.setdefault(route, {})[prefix] = claim
        self._cut_off.add(prefix)

    def __iter__(self) -> Iterator[ForeignRoute]:
        return iter(self._found)

    def conflict(self, route: ForeignRoute, search: Search) -> Conflict:
        """That of *route*, in *search*.

        Raises:
          KeyError: it has none.
        """
        claims = self._found[route]
        first = claims[min(claims)]
        prefix = first.advertisement.prefix
        wider = first.leads_here and route.prefix != prefix and not search.is_routed_here(prefix)
        return Conflict(route, first, len(claims), wider)

    def prefixes(self) -> AbstractSet[Prefix]:
        """Every prefix that is cut off."""
        return self._cut_off


def order(route: ForeignRoute) -> tuple[Prefix, int, int]:
    """The key by which foreign routes are sorted."""
    return route.prefix, route.table, route.metric
