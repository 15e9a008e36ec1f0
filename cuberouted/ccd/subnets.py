"""The clients' subnets, and the servers' own addresses, from the configurations. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_network

import attrs

from cuberouted.ccd.hosts import Address, Network
from cuberouted.openvpn.config_file import OpenVPNOptions


class Topology(enum.StrEnum):
    """OpenVPN's ``topology`` of the clients' subnet, as far as several servers can share it.

    With p2p each server's files would name another address, the server's own.
    """

    SUBNET = "subnet"
    NET30 = "net30"


@attrs.frozen
class Subnets:
    """Where clients may be.

    ``servers``: the known addresses of servers, with their names as far as they are configured.
    ``server_names``: the names of all servers that have one. ``allowed``: ``allowed_networks`` of
    the configuration, if it is set.
    """

    networks: tuple[Network, ...]
    topology: Topology = Topology.SUBNET
    servers: Mapping[Address, str | None] = attrs.field(factory=dict)
    server_names: frozenset[str] = frozenset()
    allowed: tuple[Network, ...] | None = None

    def __str__(self) -> str:
        return " and ".join(map(str, self.networks))


class TopologyError(Exception):
    """OpenVPN's configuration has a topology that cannot be used, or none. str() says which."""


def topology_of(options: OpenVPNOptions) -> Topology:
    """The topology that OpenVPN's configuration sets.

    Raises:
      TopologyError: p2p; or none is set, and the default depends on OpenVPN's version.
    """
    name = _argument(options, "topology")
    if name is None:
        raise TopologyError(
            "OpenVPN's configuration has no `topology`, and the default depends on its version:"
            " add `topology subnet`, or use --topology"
        )
    try:
        return Topology(name)
    except ValueError:
        raise TopologyError(
            f"OpenVPN's `topology {name}` is not supported: use `topology subnet`"
        ) from None


def networks_of(options: OpenVPNOptions) -> tuple[Network, ...]:
    """The clients' subnets by OpenVPN's configuration, without duplicates; empty: none is known."""
    return tuple(dict.fromkeys((*_networks4(options), *_networks6(options))))


def own_addresses(options: OpenVPNOptions) -> tuple[Address, ...]:
    """The addresses that OpenVPN's configuration gives to this server itself."""
    return tuple(_own(options))


def containing(networks: Iterable[Network], addresses: Iterable[Address]) -> tuple[Network, ...]:
    """Those of *networks* that contain one of *addresses*, and are no single addresses."""
    known = tuple(addresses)
    return tuple(
        network
        for network in networks
        if network.num_addresses > 1 and any(address in network for address in known)
    )


def _networks4(options: OpenVPNOptions) -> Iterator[Network]:
    server = _network4(options, "server")
    if server is not None:
        yield server
        return
    own = _network4(options, "ifconfig")  # of topology subnet
    if own is not None:
        yield own
        return
    # in topology net30 the subnet is only a route to the tun device
    routes = (_ipv4_network(*option.arguments[:2]) for option in options.all("route"))
    yield from containing((route for route in routes if route is not None), _own(options))


def _networks6(options: OpenVPNOptions) -> Iterator[Network]:
    for name in ("server-ipv6", "ifconfig-ipv6"):
        with suppress(ValueError):
            yield IPv6Network(_argument(options, name) or "", strict=False)
            return


def _own(options: OpenVPNOptions) -> Iterator[Address]:
    with suppress(ValueError):
        yield IPv4Address(_argument(options, "ifconfig") or "")
    with suppress(ValueError):
        yield IPv6Interface(_argument(options, "ifconfig-ipv6") or "").ip
    # the first address of the subnet, which these expand to (helper.c)
    server = _network4(options, "server")
    if server is not None and server.num_addresses > 1:
        yield server[1]
    with suppress(ValueError):
        network = IPv6Network(_argument(options, "server-ipv6") or "", strict=False)
        yield IPv6Address(int(network.network_address) + 1)


def _network4(options: OpenVPNOptions, name: str) -> IPv4Network | None:
    option = options.get(name)
    return None if option is None else _ipv4_network(*option.arguments[:2])


def _ipv4_network(*words: str) -> IPv4Network | None:
    """The network of an address and a netmask, or None if the second is no netmask."""
    if len(words) < 2:
        return None
    with suppress(ValueError):
        network = ip_network(f"{words[0]}/{words[1]}", strict=False)
        if isinstance(network, IPv4Network) and str(network.netmask) == words[1]:
            return network  # not a wildcard mask, which ipaddress takes as well
    return None


def _argument(options: OpenVPNOptions, name: str) -> str | None:
    option = options.get(name)
    return next(iter(option.arguments), None) if option else None
