"""What the tests of `ccd` share."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import attrs

from cuberouted.ccd.clients import Clients, select_clients
from cuberouted.ccd.hosts import parse_hosts
from cuberouted.ccd.subnets import Subnets, Topology

HOSTS = Path("/etc/hosts")
CCD = Path("/etc/openvpn/ccd")
NETWORKS = (ip_network("10.100.100.0/24"), ip_network("fd00:100::/64"))
SERVERS = {
    ip_address("10.100.100.1"): "vpnsrvA",
    ip_address("fd00:100::1"): "vpnsrvA",
    ip_address("10.100.100.101"): "vpnsrvB",
    ip_address("10.100.100.201"): None,
}
SERVER_NAMES = frozenset({"vpnsrvA", "vpnsrvB", "vpnsrvD"})
SUBNETS = Subnets(NETWORKS, servers=SERVERS, server_names=SERVER_NAMES)
NET30 = attrs.evolve(SUBNETS, topology=Topology.NET30)


def select(text: str, subnets: Subnets = SUBNETS, *, short: bool = False) -> Clients:
    """The clients in a hosts file with this text."""
    return select_clients(parse_hosts(text.encode(), HOSTS), HOSTS, subnets, short=short)


def made(text: str, subnets: Subnets = SUBNETS, *, short: bool = False) -> dict[str, list[str]]:
    """The lines for each client, of a hosts file without mistakes."""
    clients = select(text, subnets, short=short)
    assert clients.mistakes == ()
    return {name: list(client.made) for name, client in clients.by_name.items()}


def mistakes(text: str, subnets: Subnets = SUBNETS, *, short: bool = False) -> list[str]:
    """What is wrong with a hosts file."""
    return [str(note) for note in select(text, subnets, short=short).mistakes]
