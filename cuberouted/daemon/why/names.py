"""Finds what a name has in the RIB: addresses of a client, server or service; similar names.

In steps of a few milliseconds, between which other tasks run.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import trio

from cuberouted.model import Kind, Prefix, printable_name
from cuberouted.routing.rib import Origin, Rib, RibRoute

CHUNK_ROUTES = 1000
"""Routes whose names are compared before other tasks run: some milliseconds of work."""


async def routes_of(rib: Rib, name: str) -> Mapping[Prefix, RibRoute]:
    """The prefixes of a client, server or service by the name in listings: a route of it for each.

    Also those that the policy refuses, or that another client has as well.
    """
    is_called = _matcher(name)
    found: dict[Prefix, RibRoute] = {}
    async for routes in _all_routes(rib):
        found.update((r.advertisement.prefix, r) for r in routes if is_called(r))
    return found


async def similar(rib: Rib, name: str, limit: int) -> list[RibRoute]:
    """A route of each of up to *limit* names that contain *name*, or else differ by one letter."""
    wanted = name.casefold()
    edits = _without_one(wanted)
    contain: dict[str, RibRoute] = {}
    near: dict[str, RibRoute] = {}
    async for routes in _all_routes(rib):
        for route in routes:
            known = name_of(route).casefold()
            if wanted in known:
                contain.setdefault(known, route)
            elif abs(len(known) - len(wanted)) <= 1 and not edits.isdisjoint(_without_one(known)):
                near.setdefault(known, route)
    found = contain or near
    return [found[known] for known in heapq.nsmallest(limit, found)]


def name_of(route: RibRoute) -> str:
    """The name of the client, server or service behind *route*, as the listings print it."""
    advertisement = route.advertisement
    if advertisement.kind is Kind.SERVER:
        return route.node
    return printable_name(advertisement.name)


def _without_one(name: str) -> set[str]:
    """*name*, and *name* without one of its letters. Names with one of these in common differ by
    one letter that is wrong, missing or too much, or by two that are swapped.
    """
    return {name, *(name[:at] + name[at + 1 :] for at in range(len(name)))}


def _matcher(name: str) -> Callable[[RibRoute], bool]:
    plain = None if "\\" in name else name.encode("utf-8", "surrogateescape")

    def is_called(route: RibRoute) -> bool:
        advertisement = route.advertisement
        if advertisement.kind is Kind.SERVER:
            return name in (route.node, route.source.name)
        if plain is not None:  # without a backslash only the name itself is printed like that
            return advertisement.name == plain
        return printable_name(advertisement.name) == name

    return is_called


async def _all_routes(rib: Rib) -> AsyncIterator[Sequence[RibRoute]]:
    for source in [source for origin in Origin for source in rib.sources(origin)]:
        routes = tuple(rib.adj_rib_in(source).values())
        for start in range(0, len(routes), CHUNK_ROUTES):
            yield routes[start : start + CHUNK_ROUTES]
            await trio.lowlevel.checkpoint()
