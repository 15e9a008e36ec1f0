"""What this host's links mean for our configuration. Pure.

The kernel knows links; the rest of the daemon needs to know where each peer is, which prefixes
to accept, and which addresses to listen on.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import attrs

from cuberouted.config import Config, PeerConfig
from cuberouted.model import Prefix, format_address
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.routing.neighbours import (
    Neighbour,
    ResolvedNexthop,
    connected_networks,
    local_neighbour,
    preferred_sources,
    resolve,
)
from cuberouted.routing.policy import Policy
from cuberouted.routing.types import Link, links_by_name


@attrs.frozen
class HostState:
    """The result of one evaluation of the links.

    ``nexthops``: (neighbour, family) -> nexthop, of reachable neighbours. ``sources``: preferred
    source addresses by network. ``networks``: client networks by data interface; they outlive
    the interface's absence. ``listen``: packed addresses for peers to connect to. ``own_data``:
    the data interfaces' addresses, which we advertise as a server. ``data_addresses``: the first
    IPv4 address of each data interface, as text. ``missing``: configured interfaces that do not
    exist or are down. ``errors``: where the configuration does not fit the links; such a peer
    gets no routes.
    """

    policy: Policy = attrs.field(factory=Policy)
    nexthops: Mapping[tuple[str, int], ResolvedNexthop] = attrs.field(factory=dict)
    sources: Sequence[tuple[Prefix, bytes]] = ()
    networks: Mapping[str, tuple[Prefix, ...]] = attrs.field(factory=dict)
    listen: frozenset[bytes] = frozenset()
    own_data: frozenset[Prefix] = frozenset()
    data_addresses: Mapping[str, str] = attrs.field(factory=dict)
    missing: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def evaluate_links(
    config: Config,
    links: Iterable[Link],
    through: Mapping[str, Iterable[Prefix]],
    previous: HostState,
) -> HostState:
    """The host's state with these *links*.

    The addresses of services are left out of it: who has one is in the RIB.

    *through*: prefixes that the main table routes through each data interface. *previous*: the
    state before; networks of data interfaces that are gone are taken from it.
    """
    services = {service.address: service.name for service in config.services}
    by_name = links_by_name(_without_services(links, services))
    data = {name: by_name[name] for name in data_interfaces(config) if name in by_name}
    networks = dict(previous.networks) | {
        name: connected
        for name, link in data.items()
        if (connected := connected_networks(link, through.get(name, ())))
    }
    allowed = config.allowed_networks
    if allowed is None:
        interfaces_networks = (networks.get(name, ()) for name in data_interfaces(config))
        allowed = tuple(dict.fromkeys(chain.from_iterable(interfaces_networks)))
    sources = preferred_sources(dict.fromkeys(data.values()))
    errors = dict(peers_sharing_a_tunnel(config.peers, by_name))
    return HostState(
        policy=Policy(
            allowed=allowed,
            own_addresses=frozenset(a.local for link in by_name.values() for a in link.addresses),
            management=frozenset(peer.mgmt_ip for peer in config.peers),
            servers=configured_servers(config),
            services=services,
        ),
        nexthops=resolve(neighbours(config, unreachable=errors), by_name),
        sources=sources,
        networks=networks,
        listen=_listen_addresses(config, by_name),
        own_data=frozenset(Prefix.host(address) for _, address in sources),
        data_addresses={name: text for name, link in data.items() if (text := _first_ipv4(link))},
        missing=tuple(
            name for name in interfaces(config) if name not in by_name or not by_name[name].running
        ),
        errors=tuple(f"peer {peer.label}: {why}" for peer, why in errors.items()),
    )


def _without_services(links: Iterable[Link], services: Container[bytes]) -> Iterator[Link]:
    """The *links* without addresses of *services*, and without those that we have added.

    The latter are services' too, also when a reload has just removed their section.
    """
    for link in links:
        kept = tuple(
            address
            for address in link.addresses
            if address.local not in services and address.local not in link.ours
        )
        yield attrs.evolve(link, addresses=kept)


async def read_host_state(
    kernel: KernelApi, config: Config, links: Sequence[Link], previous: HostState
) -> HostState:
    """`evaluate_links` for these *links* of *kernel*, with its routes through the data interfaces.

    Raises:
      KernelError: the kernel does not answer.
    """
    by_name = links_by_name(links)
    through = {
        name: await kernel.routes_through(by_name[name].index)
        for name in data_interfaces(config)
        if name in by_name
    }
    return evaluate_links(config, links, through, previous)


def data_interfaces(config: Config) -> tuple[str, ...]:
    """The tun devices of the clients, without duplicates."""
    return tuple(dict.fromkeys(openvpn.data_interface for openvpn in config.openvpns))


def interfaces(config: Config) -> tuple[str, ...]:
    """Every interface that the configuration names, without duplicates."""
    management = (peer.mgmt_interface for peer in config.peers)
    return tuple(dict.fromkeys((*data_interfaces(config), *management)))


def present_interfaces(config: Config, links: Iterable[Link]) -> tuple[str, ...]:
    """The kernel's own names of the configured interfaces that exist, without duplicates."""
    by_name = links_by_name(links)
    return tuple(
        dict.fromkeys(by_name[name].name for name in interfaces(config) if name in by_name)
    )


def neighbours(config: Config, unreachable: Container[PeerConfig] = ()) -> list[Neighbour]:
    """The peers, and the OpenVPN processes on this host."""
    peers = [
        Neighbour(p.label, p.mgmt_interface, p.mgmt_ip)
        for p in config.peers
        if p not in unreachable
    ]
    local = [Neighbour(local_neighbour(o.name), o.data_interface, None) for o in config.openvpns]
    return peers + local


def peers_sharing_a_tunnel(
    peers: Iterable[PeerConfig], links: Mapping[str, Link]
) -> Iterator[tuple[PeerConfig, str]]:
    """Peers behind a point-to-point interface that another peer has already, and what to do.

    The interface alone is the nexthop there, so the kernel could not tell the peers apart.
    *links*: by each of their names.
    """
    first: dict[int, PeerConfig] = {}
    for peer in peers:
        link = links.get(peer.mgmt_interface)
        if link is None or not link.point_to_point:
            continue
        owner = first.setdefault(link.index, peer)
        if owner is not peer:
            why = (
                f"the point-to-point interface {peer.mgmt_interface} already leads to peer"
                f" {owner.label}; give each peer a tunnel of its own"
            )
            yield peer, why


def configured_servers(config: Config) -> dict[Prefix, str]:
    """The data addresses that the configuration assigns to peers."""
    return {Prefix.host(p.data_ip): p.label for p in config.peers if p.data_ip is not None}


def _listen_addresses(config: Config, links: Mapping[str, Link]) -> frozenset[bytes]:
    present = {a.local for link in links.values() for a in link.addresses}
    if config.listen is not None:
        return frozenset(present.intersection(config.listen))
    management = {peer.mgmt_interface for peer in config.peers}
    families = {len(peer.mgmt_ip) for peer in config.peers}
    return frozenset(
        address
        for name in management & links.keys()
        for _, address in preferred_sources([links[name]])
        if len(address) in families
    )


def _first_ipv4(link: Link) -> str | None:
    return next((format_address(a.local) for a in link.addresses if len(a.local) == 4), None)
