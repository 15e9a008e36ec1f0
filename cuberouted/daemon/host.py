"""What this host's links mean for our configuration: pure.

Between the kernel, which knows links, and the rooms, which want to know where a peer is,
which prefixes to believe, and which addresses to listen on.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import attrs

from cuberouted.config import Config, PeerConfig
from cuberouted.model import Kind, LocalRoute, Prefix, SessionId, format_address
from cuberouted.routing.neighbours import (
    Neighbour,
    ResolvedNexthop,
    connected_networks,
    preferred_sources,
    resolve,
)
from cuberouted.routing.policy import Policy
from cuberouted.routing.types import Link

NO_SESSION = SessionId(cid=-1, since=0)


@attrs.frozen
class HostState:
    """One look at the links.

    ``networks``: what may be advertised and accepted, by data interface; they outlive the
    interface's absence. ``listen``: packed addresses for the peers to connect to.
    ``own_data``: our data interfaces' addresses, which we advertise as a server.
    ``data_addresses``: the first IPv4 one of each data interface, as text.
    ``missing``: configured interfaces that are not there, or down. ``mistakes``: what in the
    configuration does not fit these links; such a peer gets no routes.
    """

    policy: Policy = attrs.field(factory=Policy)
    nexthops: Mapping[tuple[str, int], ResolvedNexthop] = attrs.field(factory=dict)
    sources: Sequence[tuple[Prefix, bytes]] = ()
    networks: Mapping[str, tuple[Prefix, ...]] = attrs.field(factory=dict)
    listen: frozenset[bytes] = frozenset()
    own_data: frozenset[Prefix] = frozenset()
    data_addresses: Mapping[str, str] = attrs.field(factory=dict)
    missing: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()


def evaluate_links(
    config: Config,
    links: Iterable[Link],
    through: Mapping[str, Iterable[Prefix]],
    previous: HostState,
) -> HostState:
    """What *links* mean. *through*: prefixes that the main table leads to each data interface."""
    by_name = {link.name: link for link in links}
    data = [by_name[name] for name in data_interfaces(config) if name in by_name]
    networks = dict(previous.networks) | {
        link.name: learned
        for link in data
        if (learned := connected_networks(link, through.get(link.name, ())))
    }
    allowed = config.allowed_networks
    if allowed is None:
        allowed = tuple(n for name in data_interfaces(config) for n in networks.get(name, ()))
    sources = preferred_sources(data)
    mistaken = dict(sharing_a_tunnel(config.peers, by_name.values()))
    return HostState(
        policy=Policy(
            allowed=allowed,
            ours=frozenset(a.local for link in by_name.values() for a in link.addresses),
            management=frozenset(peer.mgmt_ip for peer in config.peers),
            servers=configured_servers(config),
        ),
        nexthops=resolve(neighbours(config, mistaken), by_name),
        sources=sources,
        networks=networks,
        listen=_listen(config, by_name),
        own_data=frozenset(Prefix.host(address) for _, address in sources),
        data_addresses={link.name: text for link in data if (text := _first_ipv4(link))},
        missing=tuple(
            name for name in interfaces(config) if name not in by_name or not by_name[name].running
        ),
        mistakes=tuple(f"peer {peer.label}: {why}" for peer, why in mistaken.items()),
    )


def data_interfaces(config: Config) -> tuple[str, ...]:
    """The tun devices for the clients, each once."""
    return tuple(dict.fromkeys(openvpn.data_interface for openvpn in config.openvpns))


def interfaces(config: Config) -> tuple[str, ...]:
    """Every interface that the configuration names, each once."""
    management = (peer.mgmt_interface for peer in config.peers)
    return tuple(dict.fromkeys((*data_interfaces(config), *management)))


def neighbours(config: Config, unreachable: Container[PeerConfig] = ()) -> list[Neighbour]:
    """Whom routes may lead to: the peers, and our OpenVPN processes where there are several."""
    peers = [
        Neighbour(p.label, p.mgmt_interface, p.mgmt_ip)
        for p in config.peers
        if p not in unreachable
    ]
    if len(config.openvpns) == 1:
        return peers
    ours = [Neighbour(local_name(o.name), o.data_interface, None) for o in config.openvpns]
    return peers + ours


def sharing_a_tunnel(
    peers: Iterable[PeerConfig], links: Iterable[Link]
) -> Iterator[tuple[PeerConfig, str]]:
    """Peers behind a point-to-point interface that another peer has already, and what to do.

    Such an interface is all that their nexthops would say, so nobody could tell them apart.
    """
    tunnels = {link.name for link in links if link.point_to_point}
    first: dict[str, PeerConfig] = {}
    for peer in peers:
        owner = first.setdefault(peer.mgmt_interface, peer)
        if owner is not peer and peer.mgmt_interface in tunnels:
            yield (
                peer,
                (
                    f"the point-to-point interface {peer.mgmt_interface} leads to peer"
                    f" {owner.label} already; give each peer a tunnel of its own"
                ),
            )


def local_name(instance: str) -> str:
    """The neighbour's name of an OpenVPN process of ours; no peer's name holds a blank."""
    return f"openvpn {instance}"


def configured_servers(config: Config) -> dict[Prefix, str]:
    """The data addresses that the configuration gives to peers."""
    return {Prefix.host(p.data_ip): p.label for p in config.peers if p.data_ip is not None}


def server_claims(node: str, own_data: Iterable[Prefix]) -> tuple[LocalRoute, ...]:
    """Our claim on our own data addresses."""
    return tuple(
        LocalRoute(prefix, Kind.SERVER, node.encode(), NO_SESSION, announced=False, confirmed=True)
        for prefix in own_data
    )


def _listen(config: Config, links: Mapping[str, Link]) -> frozenset[bytes]:
    present = {a.local for link in links.values() for a in link.addresses}
    if config.listen is not None:
        return frozenset(present.intersection(config.listen))
    managing = {peer.mgmt_interface for peer in config.peers}
    own_families = {len(peer.mgmt_ip) for peer in config.peers}
    return frozenset(
        address
        for name in managing & links.keys()
        for _, address in preferred_sources([links[name]])
        if len(address) in own_families
    )


def _first_ipv4(link: Link) -> str | None:
    return next((format_address(a.local) for a in link.addresses if len(a.local) == 4), None)
