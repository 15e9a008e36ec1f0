"""Resolves neighbours (peers, local OpenVPN processes) to nexthops on this host's links. Pure.

On a point-to-point link (tun, WireGuard, GRE) the device alone is the nexthop; on other links
the peer's management address on that device is.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cuberouted.model import Prefix
from cuberouted.routing.types import FAMILIES, Link

LINK_LOCAL = Prefix.parse("fe80::/10")
MULTICAST6 = Prefix.parse("ff00::/8")

DEFAULT_ROUTES = frozenset(map(Prefix.parse, ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0")))
"""Never allowed networks by themselves. ``redirect-gateway def1`` of an OpenVPN client installs
the two halves."""


class ResolvedNexthop(NamedTuple):
    """What a nexthop object contains. An IPv4 route may use an IPv6 gateway, so ``family`` is
    the nexthop's own.
    """

    family: int
    device: int
    gateway: bytes | None


class Neighbour(NamedTuple):
    """Where routes may lead: a peer, or an OpenVPN process of this host.

    ``address`` is the peer's management address, packed; None where the device suffices.
    """

    name: str
    device: str
    address: bytes | None


def local_neighbour(instance: str) -> str:
    """The neighbour name of an OpenVPN process on this host. No peer's name contains a blank."""
    return f"openvpn {instance}"


def resolve(
    neighbours: Iterable[Neighbour], links: Mapping[str, Link]
) -> dict[tuple[str, int], ResolvedNexthop]:
    """(neighbour's name, family of the routes) -> nexthop, for those reachable now.

    A neighbour with an IPv4 address on a broadcast link has no nexthop for IPv6 routes: the
    kernel has no IPv6 routes through IPv4 gateways.
    """
    resolved: dict[tuple[str, int], ResolvedNexthop] = {}
    for neighbour in neighbours:
        link = links.get(neighbour.device)
        if link is not None and link.running:
            for family in FAMILIES:
                nexthop = _nexthop(neighbour.address, link, family)
                if nexthop is not None:
                    resolved[neighbour.name, family] = nexthop
    return resolved


def _nexthop(address: bytes | None, link: Link, family: int) -> ResolvedNexthop | None:
    if link.point_to_point or address is None:
        return ResolvedNexthop(family, link.index, None)
    own = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    if own == family or own == socket.AF_INET6:
        return ResolvedNexthop(own, link.index, address)
    return None


def preferred_sources(devices: Iterable[Link]) -> tuple[tuple[Prefix, bytes], ...]:
    """(network, our address in it) for each data interface, without link-local addresses.

    This host's own traffic to remote clients leaves from such an address, because clients can
    reply to it.
    """
    return tuple(
        (address.network, address.local)
        for link in devices
        for address in link.addresses
        if not LINK_LOCAL.contains(Prefix.host(address.local))
    )


def connected_networks(link: Link, through: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The client networks of a data interface: its own, and *through*: what is routed to it.

    In topology net30 the client subnet is only a route.
    """
    networks = {address.network for address in link.addresses} | set(through)
    return tuple(
        sorted(
            network
            for network in networks - DEFAULT_ROUTES
            if not LINK_LOCAL.contains(network) and not MULTICAST6.contains(network)
        )
    )
