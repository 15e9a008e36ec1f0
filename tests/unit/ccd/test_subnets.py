"""The clients' subnets by OpenVPN's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuberouted.ccd.subnets import (
    Topology,
    TopologyError,
    networks_of,
    own_addresses,
    topology_of,
)
from cuberouted.openvpn.config_file import OpenVPNOptions, parse_file


def options(text: str) -> OpenVPNOptions:
    return OpenVPNOptions(tuple(parse_file(text.encode())), Path("/etc/openvpn"))


@pytest.mark.parametrize(
    ("text", "networks", "own"),
    [
        ("ifconfig 10.100.100.101 255.255.255.0", ["10.100.100.0/24"], ["10.100.100.101"]),
        (
            "ifconfig 10.100.100.1 255.255.255.0\nifconfig-ipv6 fd00:100::1/64 fd00:100::2",
            ["10.100.100.0/24", "fd00:100::/64"],
            ["10.100.100.1", "fd00:100::1"],
        ),
        (
            "server 10.8.0.0 255.255.255.0 nopool\nserver-ipv6 fd00:8::/64",
            ["10.8.0.0/24", "fd00:8::/64"],
            ["10.8.0.1", "fd00:8::1"],
        ),
        # net30: the other end, and the subnet as a route; networks behind clients are others
        (
            (
                "ifconfig 10.100.100.1 10.100.100.2\nroute 10.100.100.0 255.255.255.0\n"
                "route 192.168.50.0 255.255.255.0\nroute 10.100.100.1\nroute host 255.255.255.0"
            ),
            ["10.100.100.0/24"],
            ["10.100.100.1"],
        ),
        ("ifconfig 10.100.100.1 0.0.0.255", [], ["10.100.100.1"]),
        ("ifconfig\nserver nonsense 1\nserver-ipv6 x\nifconfig-ipv6", [], []),
        ("server 10.8.0.1 255.255.255.255", ["10.8.0.1/32"], []),
        ("", [], []),
    ],
)
def test_networks_and_own_addresses(text, networks, own):
    assert [str(network) for network in networks_of(options(text))] == networks
    assert [str(address) for address in own_addresses(options(text))] == own


def test_topology():
    assert topology_of(options("topology p2p\ntopology subnet")) is Topology.SUBNET
    assert topology_of(options("topology net30")) is Topology.NET30
    with pytest.raises(TopologyError, match="`topology p2p` is not supported"):
        topology_of(options("topology p2p"))
    with pytest.raises(TopologyError, match="has no `topology`"):
        topology_of(options("dev tun0"))
