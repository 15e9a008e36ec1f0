"""What the API replies with about all clients and routes: lists of any length.

They are built and encoded in parts, between which other tasks run. A route that changes meanwhile
is reported as it was or as it is, once.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from cuberouted.api import report
from cuberouted.api.http import Parts
from cuberouted.api.selection import Selection
from cuberouted.model import Kind, Prefix, printable_name
from cuberouted.routing.rib import ADOPTED_VERSION, Rib, RibRoute

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon

T = TypeVar("T")

CHUNK_ROWS = 500
"""Prefixes whose rows are made before other tasks run: some five milliseconds of work."""

CHUNK_SORTED = 5000
"""Prefixes that are sorted or counted before other tasks run: some five milliseconds of work."""


async def clients(rib: Rib, selection: Selection) -> Parts:
    """`report.Clients` in parts: the selected clients and networks, sorted by address."""
    yield b'{"clients":['
    separator = b""
    for chunk in _chunks(await _sorted(rib.prefixes()), CHUNK_ROWS):
        rows = [
            msgspec.json.encode(client_row(prefix, best))
            for prefix in chunk
            if selection.contains(prefix)
            and (best := rib.best(prefix)) is not None
            and _is_advertised(best, Kind.CLIENT, Kind.NETWORK)
            and _matches(selection, best)
        ]
        if rows:
            yield separator + b",".join(rows)
            separator = b","
        await trio.lowlevel.checkpoint()
    yield b"]}"


async def route_infos(daemon: Daemon, selection: Selection) -> Parts:
    """`report.RouteInfos` in parts, of the selected routes."""
    now, rib = trio.current_time(), daemon.node.rib
    since = daemon.node.kernel_sync.fib.installed_since()
    yield b'{"node":' + msgspec.json.encode(daemon.config.node) + b',"routes":{'
    separator = b""
    for chunk in _chunks(tuple(since), CHUNK_ROWS):
        entries = [
            msgspec.json.encode(str(prefix))
            + b":"
            + msgspec.json.encode(route_info(best, now - since.get(prefix, now)))
            for prefix in chunk
            if selection.contains(prefix)
            and (best := rib.followed(prefix)) is not None
            and _matches(selection, best)
        ]
        if entries:
            yield separator + b",".join(entries)
            separator = b","
        await trio.lowlevel.checkpoint()
    yield b"}}"


async def count_clients(rib: Rib) -> Mapping[str, int]:
    """The number of clients of each node; one with an IPv4 and an IPv6 address counts once."""
    counts: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for chunk in _chunks(rib.prefixes(), CHUNK_SORTED):
        for prefix in chunk:
            best = rib.best(prefix)
            if best is not None and _is_advertised(best, Kind.CLIENT):
                counts[len(prefix.address) == 16][best.node] += 1
        await trio.lowlevel.checkpoint()
    return counts[0] | counts[1]  # the higher number of the two


def client_row(prefix: Prefix, route: RibRoute) -> report.ClientRow:
    """The row of a client or network with its best route."""
    advertisement = route.advertisement
    return report.ClientRow(
        address=prefix.short,
        node=route.node,
        name=printable_name(advertisement.name),
        kind=advertisement.kind.value,
        since=report.iso_time(advertisement.since),
        local=route.is_local,
    )


def route_info(route: RibRoute, age: float) -> report.RouteInfo:
    """What the daemon knows of an installed route that follows *route*, *age* seconds old."""
    advertisement = route.advertisement
    name = printable_name(advertisement.name)
    return report.RouteInfo(route.node, advertisement.kind.value, name, age)


def _is_advertised(route: RibRoute, *kinds: Kind) -> bool:
    """Whether *route* is of one of *kinds*, and no adopted one, whose client is not known yet."""
    advertisement = route.advertisement
    return advertisement.kind in kinds and advertisement.version != ADOPTED_VERSION


def _matches(selection: Selection, route: RibRoute) -> bool:
    if not (selection.node or selection.name):
        return True
    return selection.matches(route.node, printable_name(route.advertisement.name))


async def _sorted(prefixes: Sequence[Prefix]) -> Iterator[Prefix]:
    runs = []
    for start in range(0, len(prefixes), CHUNK_SORTED):
        runs.append(sorted(prefixes[start : start + CHUNK_SORTED]))
        await trio.lowlevel.checkpoint()
    return heapq.merge(*runs)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
