"""Finds the foreign routes that carry packets elsewhere than to where the RIB has their client.

Pure. Without foreign routes there is nothing to look at; with some, only the claims (the best
routes of the RIB) inside them. `Lookup` answers where the kernel sends a prefix.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from cuberouted.model import Kind, Prefix
from cuberouted.routing.lookup import Lookup, PrefixLengths, leads_to
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.rib import RibRoute
from cuberouted.routing.types import RTN_THROW, RTN_UNICAST, ForeignRoute


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
class Claims:
    """All prefixes of the RIB: sorted, by the size of their addresses."""

    by_size: Mapping[int, Sequence[Prefix]] = attrs.field(factory=dict)
    lengths: PrefixLengths = attrs.field(factory=PrefixLengths)

    def inside(self, network: Prefix, without: Iterable[Prefix] = ()) -> Iterator[Prefix]:
        """The prefixes inside *network*, but not those inside the networks *without*."""
        prefixes = self.by_size.get(len(network.address), ())
        position, end = _range(prefixes, network)
        for start, stop in sorted(_range(prefixes, hole) for hole in without):
            yield from prefixes[position : max(position, start)]
            position = max(position, stop)
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
    """One search. *best*: the RIB's. *nexthop*: where a route of the RIB leads, None: nowhere.

    *data_devices*: the devices of this host's OpenVPN processes. OpenVPN's own routes and the
    connected ones lead there.
    """

    lookup: Lookup
    best: Callable[[Prefix], RibRoute | None]
    nexthop: Callable[[RibRoute], ResolvedNexthop | None]
    data_devices: Collection[int]

    def suspects(self) -> list[ForeignRoute]:
        """The foreign routes that have to be compared with the claims inside them."""
        return [
            route
            for route in self.lookup.routes()
            if route.type != RTN_THROW
            and self.lookup.is_consulted(route)
            and not self._belongs_here(route)
            # a default route is the last one of its table, where it is not in an earlier one
            and (route.prefix.length > 0 or self.lookup.is_before_ours(route))
        ]

    def probes(self, suspects: Iterable[ForeignRoute], claims: Claims) -> Iterator[Prefix]:
        """The prefixes to `judge`. *claims* may be empty if there are no *suspects*."""
        belonging = [route for route in self.lookup.routes() if self._belongs_here(route)]
        yield from (route.prefix for route in belonging)
        for suspect in suspects:
            yield suspect.prefix
            yield from claims.inside(
                suspect.prefix,
                () if self.lookup.is_before_ours(suspect) else _holes(suspect, belonging),
            )

    def judge(self, prefix: Prefix, claims: Claims) -> tuple[ForeignRoute, RibRoute] | None:
        """The foreign route that carries *prefix* elsewhere than its claim, with that claim."""
        claim = self._claim(prefix, claims)
        if claim is None or (claim.leads_here and claim.advertisement.kind is Kind.SERVER):
            return None
        nexthop = self.nexthop(claim)
        route = self.lookup.find(prefix) if nexthop else None
        if nexthop is None or route is None:
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
        return any(
            self._belongs_here(route) and route.prefix.contains(prefix)
            for route in self.lookup.routes()
        )

    def _claim(self, prefix: Prefix, claims: Claims) -> RibRoute | None:
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


def _holes(suspect: ForeignRoute, belonging: Iterable[ForeignRoute]) -> list[Prefix]:
    """Networks inside *suspect* whose own route in the same table wins."""
    return [
        route.prefix
        for route in belonging
        if route.table == suspect.table
        and route.prefix != suspect.prefix
        and suspect.prefix.contains(route.prefix)
    ]


@attrs.define
class Conflicts:
    """Collects what `Search.judge` finds, by foreign route."""

    _found: dict[ForeignRoute, dict[Prefix, RibRoute]] = attrs.field(factory=dict, init=False)

    def add(self, route: ForeignRoute, claim: RibRoute) -> None:
        """*route* cuts *claim* off."""
        self._found.setdefault(route, {})[claim.advertisement.prefix] = claim

    def result(self, search: Search) -> dict[ForeignRoute, Conflict]:
        """All conflicts of *search*, sorted by the foreign route's prefix."""
        routes = sorted(self._found, key=_order)
        return {route: _conflict(route, self._found[route], search) for route in routes}

    def prefixes(self) -> frozenset[Prefix]:
        """Every prefix that is cut off."""
        return frozenset(prefix for claims in self._found.values() for prefix in claims)


def _conflict(route: ForeignRoute, claims: Mapping[Prefix, RibRoute], search: Search) -> Conflict:
    first = claims[min(claims)]
    prefix = first.advertisement.prefix
    wider = first.leads_here and route.prefix != prefix and not search.is_routed_here(prefix)
    return Conflict(route, first, len(claims), wider)


def _order(route: ForeignRoute) -> tuple[Prefix, int, int]:
    return route.prefix, route.table, route.metric
