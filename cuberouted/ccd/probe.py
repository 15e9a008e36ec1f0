"""Finds the clients' subnets: in options, in OpenVPN's configuration, on the data interface.

Blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from itertools import chain
from pathlib import Path

from cuberouted.ccd.hosts import Address, Network, Note
from cuberouted.ccd.subnets import (
    Subnets,
    Topology,
    TopologyError,
    containing,
    networks_of,
    own_addresses,
    topology_of,
)
from cuberouted.config import Config
from cuberouted.daemon.host import HostState, read_host_state
from cuberouted.model import Prefix
from cuberouted.openvpn.config_file import OpenVPNOptions
from cuberouted.openvpn.config_search import SearchError, find_options
from cuberouted.routing.kernel_api import KernelApi


class SubnetError(Exception):
    """The clients' subnets cannot be found. str() says why, and what to do."""


async def read_data_addresses(
    kernel: KernelApi, config: Config
) -> tuple[tuple[Network, Address], ...]:
    """The networks of the data interfaces, and our address in each.

    Raises:
      KernelError: the kernel does not answer.
    """
    host = await read_host_state(kernel, config, await kernel.links(), HostState())
    return tuple((_network(network), ip_address(own)) for network, own in host.sources)


def find_subnets(
    config: Config,
    directory: Path,
    interfaces: Iterable[tuple[Network, Address]],
    networks: tuple[Network, ...],
    topology: Topology | None,
) -> tuple[Subnets, tuple[Note, ...]]:
    """Where clients may be, and warnings.

    *interfaces*: from `read_data_addresses`. *networks* and *topology*: of the command line, empty
    and None if they are to be found. Of several OpenVPN processes those count that have the
    client-config-dir *directory*, or all if none has.

    Raises:
      SubnetError: they cannot be found.
    """
    interfaces = tuple(interfaces)
    options, why = _find_openvpns(config)
    here = [one for one in options if _reads(one, directory)]
    try:
        topologies = {topology} if topology else {topology_of(one) for one in here or options}
    except TopologyError as error:
        raise SubnetError(str(error)) from None
    if len(topologies) > 1:
        raise SubnetError("the OpenVPN processes have different topologies: use --topology")
    allowed = config.allowed_networks
    subnets = Subnets(
        networks=networks or _found(config, here or options, interfaces),
        topology=next(iter(topologies), Topology.SUBNET),
        servers={
            **{address: config.node for one in options for address in own_addresses(one)},
            **{address: config.node for _, address in interfaces},
            **{ip_address(p.data_ip): p.name for p in config.peers if p.data_ip is not None},
        },
        server_names=frozenset({config.node, *filter(None, (p.name for p in config.peers))}),
        allowed=None if allowed is None else tuple(map(_network, allowed)),
    )
    if not subnets.networks:
        raise SubnetError(f"the clients' subnet is not known: use --network ({why})")
    return subnets, () if here else tuple(_elsewhere(options, directory))


def _found(
    config: Config, options: Iterable[OpenVPNOptions], interfaces: Iterable[tuple[Network, Address]]
) -> tuple[Network, ...]:
    """From OpenVPN's configuration, or else the interface, or else our configuration."""
    of_openvpn = tuple(dict.fromkeys(chain.from_iterable(map(networks_of, options))))
    peers = [ip_address(peer.data_ip) for peer in config.peers if peer.data_ip is not None]
    return (
        of_openvpn
        or tuple(network for network, own in interfaces if containing([network], [own]))
        or containing(map(_network, config.allowed_networks or ()), peers)
    )


def _find_openvpns(config: Config) -> tuple[list[OpenVPNOptions], str]:
    """Those that are found, and why another one is not."""
    found, why = [], "OpenVPN's configuration does not say it"
    for one in config.openvpns:
        try:
            found.append(find_options(one))
        except SearchError as error:
            why = str(error)
    return found, why


def _reads(options: OpenVPNOptions, directory: Path) -> bool:
    """Whether this OpenVPN has the client-config-dir *directory*."""
    option = options.get("client-config-dir")
    try:
        return option is not None and options.path(option).samefile(directory)
    except OSError:
        return False


def _elsewhere(options: Iterable[OpenVPNOptions], directory: Path) -> Iterable[Note]:
    for one in options:
        option = one.get("client-config-dir")
        if option is None:
            yield Note(directory, None, "OpenVPN has no client-config-dir, and reads no file here")
        else:
            yield Note(directory, None, f"OpenVPN's client-config-dir is {one.path(option)}")


def _network(prefix: Prefix) -> Network:
    return ip_network((prefix.address, prefix.length))
