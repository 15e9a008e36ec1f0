"""Where each peer is, as this host's links stand: pure.

A path is what a nexthop object holds. On a point-to-point link (tun, wireguard, gre) the
device alone tells; elsewhere the peer's management address on that device does.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cuberouted.model import Prefix
from cuberouted.routing.types import Link

FAMILIES = (socket.AF_INET, socket.AF_INET6)

LINK_LOCAL = Prefix.parse("fe80::/10")

DEFAULT_ROUTES = frozenset(map(Prefix.parse, ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0")))
"""Never an allowed network by itself: a VPN client's `redirect-gateway` makes the halves."""


class ResolvedNexthop(NamedTuple):
    """How to reach a peer. ``family`` is the nexthop's own: IPv4 may go through IPv6."""

    family: int
    device: int
    gateway: bytes | None


class Neighbour(NamedTuple):
    """Somebody routes may lead to: a peer, or an OpenVPN process of this host.

    ``address`` is the peer's management address, packed; None where the device suffices.
    """

    name: str
    device: str
    address: bytes | None


def resolve(
    neighbours: Iterable[Neighbour], links: Mapping[str, Link]
) -> dict[tuple[str, int], ResolvedNexthop]:
    """(neighbour's name, family of the routes) -> path, of those that can be reached now.

    A neighbour on a broadcast link whose address is IPv4 has no path for IPv6 routes: the
    kernel does not know IPv6 routes through IPv4 gateways.
    """
    found: dict[tuple[str, int], ResolvedNexthop] = {}
    for neighbour in neighbours:
        link = links.get(neighbour.device)
        if link is not None and link.running:
            for family in FAMILIES:
                path = _path(neighbour.address, link, family)
                if path is not None:
                    found[neighbour.name, family] = path
    return found


def _path(address: bytes | None, link: Link, family: int) -> ResolvedNexthop | None:
    if link.point_to_point or address is None:
        return ResolvedNexthop(family, link.index, None)
    own = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    if own == family or own == socket.AF_INET6:
        return ResolvedNexthop(own, link.index, address)
    return None


def preferred_sources(devices: Iterable[Link]) -> tuple[tuple[Prefix, bytes], ...]:
    """(network, our address in it) for each data interface, link-local addresses left out.

    The server's own traffic to remote clients leaves from such an address, so that it can
    be answered.
    """
    return tuple(
        (address.network, address.local)
        for link in devices
        for address in link.addresses
        if not LINK_LOCAL.contains(Prefix.host(address.local))
    )


def connected_networks(link: Link, through: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The client networks of a data interface: its own, and what is routed to it.

    In topology net30 the client subnet is only a route.
    """
    networks = {address.network for address in link.addresses} | set(through)
    return tuple(
        sorted(
            network
            for network in networks - DEFAULT_ROUTES
            if not LINK_LOCAL.contains(network) and not Prefix.parse("ff00::/8").contains(network)
        )
    )
