"""What the commands show, as values; their JSON form is documented in the README.

Pure. The daemon fills most of it in and answers with it on the control socket;
`dump-routes` reads the kernel itself, and asks the daemon only for whose the routes are.
Times are seconds; absolute times ISO 8601 UTC.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

import msgspec

from cuberouted.model import Kind, Prefix, format_address, printable_name
from cuberouted.routing.rib import ADOPTED_VERSION, RibRoute
from cuberouted.routing.types import KernelState, Link, Nexthop


class OpenVPNRow(msgspec.Struct):
    """One OpenVPN process of this host."""

    name: str
    state: str
    version: str | None
    clients: int
    detail: str = ""


class PeerRow(msgspec.Struct):
    """One peer. ``last_heard``: seconds ago, None if never. ``encrypted``: by CURVE, or not.

    ``refused``: messages and prefixes of it that were not accepted.
    """

    name: str
    state: str
    clients: int
    last_heard: float | None
    detail: str = ""
    encrypted: bool = False
    refused: int = 0


class RouteCounts(msgspec.Struct):
    """Routes there should be, routes of ours there are, and those without their effect."""

    desired: int
    installed: int
    conflicts: int


class Status(msgspec.Struct):
    """`cuberouted status --json`. ``rejected_connections``: connections that were rejected."""

    node: str
    uptime: float
    openvpn: list[OpenVPNRow]
    peers: list[PeerRow]
    routes: RouteCounts
    problems: list[str] = []
    rejected_connections: int = 0

    @property
    def well(self) -> bool:
        """Whether OpenVPN and every peer are there."""
        return all(o.state == "connected" for o in self.openvpn) and all(
            p.state == "up" for p in self.peers
        )


class ClientRow(msgspec.Struct):
    """A client, or a network behind one."""

    address: str
    node: str
    name: str
    kind: str
    since: str
    local: bool


class Clients(msgspec.Struct):
    """`cuberouted clients --json`."""

    clients: list[ClientRow]


class RouteRow(msgspec.Struct):
    """A route of ours in the kernel. What only the daemon knows is None without it."""

    destination: str
    node: str | None
    interface: str | None
    gateway: str | None
    kind: str | None
    name: str | None
    age: float | None


class Routes(msgspec.Struct):
    """`cuberouted dump-routes --json`."""

    node: str | None
    routes: list[RouteRow]


Report = Status | Clients | Routes
"""What the commands show."""


class RouteInfo(msgspec.Struct):
    """What the daemon knows of a route."""

    node: str
    kind: str
    name: str
    age: float


class RouteInfos(msgspec.Struct):
    """What the daemon answers `dump-routes`, by destination."""

    node: str
    owners: dict[str, RouteInfo]


def clients(bests: Iterable[tuple[Prefix, RibRoute]]) -> Clients:
    """Every client and network that somebody has told of, sorted by address."""
    told = sorted(
        (prefix, claim)
        for prefix, claim in bests
        if claim.advertisement.kind is not Kind.SERVER
        and claim.advertisement.version != ADOPTED_VERSION
    )
    return Clients([_client_row(prefix, claim) for prefix, claim in told])


def _client_row(prefix: Prefix, claim: RibRoute) -> ClientRow:
    said = claim.advertisement
    return ClientRow(
        address=address(prefix),
        node=claim.node,
        name=printable_name(said.name),
        kind=said.kind.value,
        since=iso_time(said.since),
        local=claim.is_local,
    )


def routes(installed: KernelState, links: Iterable[Link], owners: RouteInfos | None) -> Routes:
    """Every route of ours in the kernel, sorted by destination."""
    names = {link.index: link.name for link in links}
    rows = [
        _route_row(
            str(route.prefix),
            installed.nexthops.get(route.nexthop),
            names,
            owners.owners.get(str(route.prefix)) if owners else None,
        )
        for route in sorted(installed.routes.values())
    ]
    return Routes(owners.node if owners else None, rows)


def _route_row(
    destination: str,
    nexthop: Nexthop | None,
    names: Mapping[int, str],
    route_info: RouteInfo | None,
) -> RouteRow:
    gateway = nexthop.gateway if nexthop else None
    return RouteRow(
        destination=destination,
        node=route_info.node if route_info else None,
        interface=names.get(nexthop.device) if nexthop else None,
        gateway=address(Prefix.host(gateway)) if gateway else None,
        kind=route_info.kind if route_info else None,
        name=route_info.name if route_info else None,
        age=round(route_info.age, 1) if route_info else None,
    )


def route_info(claim: RibRoute, age: float) -> RouteInfo:
    """What the daemon tells of a route that follows *claim*."""
    said = claim.advertisement
    return RouteInfo(claim.node, said.kind.value, printable_name(said.name), age)


def address(prefix: Prefix) -> str:
    """A host without its length, a network with it."""
    if prefix.is_host:
        return format_address(prefix.address)
    return str(prefix)


def iso_time(since: float) -> str:
    """A Unix time, as people and JSON write it; a nonsensical one is the nearest there is."""
    latest = 253_402_300_799  # the last second of the year 9999
    at = dt.datetime.fromtimestamp(min(since, latest), dt.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def pluralize(number: int, noun: str) -> str:
    """``1 client``, ``2 clients``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
