"""Where the clients' subnets are found."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from cuberouted.ccd import probe
from cuberouted.ccd.probe import SubnetError, find_subnets
from cuberouted.ccd.subnets import Topology
from cuberouted.config.build import parse
from cuberouted.openvpn.config_file import OpenVPNOptions, parse_file
from cuberouted.openvpn.config_search import SearchError

NODE = "node = vpnsrvA\nmgmt_interface = tun1\n"
PEER = "[peer vpnsrvB]\nmgmt_ip = 10.200.200.5\ndata_ip = 10.100.100.101\n"
ONE = f"{NODE}data_interface = tun0\n{PEER}"
TWO = (
    f"{NODE}[openvpn udp]\ndata_interface = tun0\nmgmt_port = 5656\n"
    f"[openvpn tcp]\ndata_interface = tun3\nmgmt_port = 5658\n{PEER}"
)
SUBNET = "topology subnet\nifconfig 10.100.100.1 255.255.255.0\nclient-config-dir ccd\n"
INTERFACE = (ip_network("10.100.100.0/24"), ip_address("10.100.100.1"))
END = (ip_network("10.100.100.2/32"), ip_address("10.100.100.1"))


@pytest.fixture
def find(tmp_path, monkeypatch):
    """Asks with OpenVPN's configurations by name of the process; one that is missing is unknown."""
    (tmp_path / "ccd").mkdir()

    def look(texts, config=ONE, directory="ccd", interfaces=(), networks=(), topology=None):
        def find_options(one):
            if one.name not in texts:
                raise SearchError("no OpenVPN configuration was found")
            return OpenVPNOptions(tuple(parse_file(texts[one.name].encode())), tmp_path)

        monkeypatch.setattr(probe, "find_options", find_options)
        found = parse(config, tmp_path / "cuberouted.conf", "vpnsrvA")
        return find_subnets(found, tmp_path / directory, interfaces, networks, topology)

    return look


def test_openvpns_configuration(find):
    subnets, warnings = find({"": SUBNET}, interfaces=[INTERFACE])
    assert str(subnets) == "10.100.100.0/24"
    assert subnets.topology is Topology.SUBNET
    assert {str(address): name for address, name in subnets.servers.items()} == {
        "10.100.100.1": "vpnsrvA",
        "10.100.100.101": "vpnsrvB",
    }
    assert subnets.server_names == {"vpnsrvA", "vpnsrvB"}
    assert (subnets.allowed, warnings) == (None, ())


def test_a_directory_that_openvpn_does_not_read(find, tmp_path):
    _, (warning,) = find({"": SUBNET}, directory="other")
    assert warning.text == f"OpenVPN's client-config-dir is {tmp_path / 'ccd'}"
    _, (warning,) = find({"": "topology subnet\nserver 10.8.0.0 255.255.255.0"})
    assert "has no client-config-dir" in warning.text


def test_of_two_processes_the_one_with_this_directory_counts(find):
    texts = {
        "udp": SUBNET,
        "tcp": "topology net30\nserver 10.8.0.0 255.255.255.0\nclient-config-dir nowhere\n",
    }
    subnets, warnings = find(texts, TWO)
    assert (str(subnets), subnets.topology, warnings) == (
        "10.100.100.0/24",
        Topology.SUBNET,
        (),
    )
    assert ip_address("10.8.0.1") in subnets.servers
    with pytest.raises(SubnetError, match="different topologies: use --topology"):
        find(texts, TWO, "other")
    subnets, warnings = find(texts, TWO, "other", topology=Topology.NET30)
    assert str(subnets) == "10.100.100.0/24 and 10.8.0.0/24"
    assert len(warnings) == 2


def test_without_openvpns_configuration_the_interface_and_then_allowed_networks_count(find):
    allowed = f"allowed_networks = 10.100.0.0/16, 192.168.50.0/24\n{ONE}"
    assert str(find({}, interfaces=[INTERFACE])[0]) == "10.100.100.0/24"
    subnets, warnings = find({}, allowed)
    assert (str(subnets), warnings) == ("10.100.0.0/16", ())
    assert [str(network) for network in subnets.allowed] == ["10.100.0.0/16", "192.168.50.0/24"]
    with pytest.raises(SubnetError, match=r"use --network \(no OpenVPN configuration was found"):
        find({}, interfaces=[END])  # of topology net30: the subnet is not there


def test_options_come_first(find):
    network = ip_network("10.0.0.0/8")
    subnets, _ = find({"": SUBNET}, networks=(network,), topology=Topology.NET30)
    assert (subnets.networks, subnets.topology) == ((network,), Topology.NET30)
    assert find({}, networks=(network,))[0].topology is Topology.SUBNET


def test_a_topology_that_cannot_be_used(find):
    with pytest.raises(SubnetError, match="p2p"):
        find({"": "topology p2p"})
