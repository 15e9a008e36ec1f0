from __future__ import annotations

import socket

import attrs
import pytest

from cuberouted.daemon.host import (
    HostState,
    configured_servers,
    data_interfaces,
    evaluate_links,
    interfaces,
    neighbours,
    present_interfaces,
)
from cuberouted.model import Prefix
from cuberouted.routing.neighbours import ResolvedNexthop
from tests.fakes.samples import (
    ETH0,
    LINKS,
    THREE_SERVERS,
    TUN0,
    TUN1,
    TUN2,
    TWO_SERVERS,
    config,
    link,
    packed,
)

V4, V6 = socket.AF_INET, socket.AF_INET6
TWO_OPENVPNS = """\
[openvpn udp]
[openvpn tcp]
mgmt_port = 5658
data_interface = tun9
"""


def look(text=THREE_SERVERS, links=LINKS, through=None, before=None):
    return evaluate_links(config(text), links, through or {}, before or HostState())


def written(prefixes):
    return [str(prefix) for prefix in prefixes]


# -- what may be believed --


def test_the_clients_networks_are_learned_from_the_data_interface_and_its_routes():
    net30 = link("tun0", "10.100.100.1 peer 10.100.100.2/32")
    found = look(links=(net30,), through={"tun0": [Prefix.parse("10.100.100.0/24")]})
    assert written(found.policy.allowed) == ["10.100.100.0/24", "10.100.100.2/32"]


def test_networks_outlive_the_absence_of_their_interface_and_change_with_it():
    there = look()
    assert written(there.policy.allowed) == ["10.100.100.0/24", "fd00:1::/64"]
    away = look(links=(TUN1,), before=there)
    assert away.policy.allowed == there.policy.allowed
    bare = look(links=(link("tun0"),), before=away)
    assert bare.policy.allowed == there.policy.allowed
    other = look(links=(link("tun0", "10.9.0.1/24"),), before=bare)
    assert written(other.policy.allowed) == ["10.9.0.0/24"]


def test_networks_that_the_configuration_names_are_all_there_is():
    found = look("allowed_networks = 10.0.0.0/8, fd00::/8\n" + THREE_SERVERS)
    assert written(found.policy.allowed) == ["10.0.0.0/8", "fd00::/8"]


def test_nobody_may_claim_our_addresses_the_peers_or_another_server_s():
    policy = look().policy
    assert policy.own_addresses >= {packed(a) for a in ("192.0.2.1", "10.100.100.101", "fe80::1")}
    assert policy.management == {packed("10.200.200.5"), packed("10.200.201.5")}
    assert policy.servers == {Prefix.parse("10.100.100.102"): "B"}


# -- where peers are, and where they find us --


def test_peers_are_where_their_interfaces_are_and_what_is_missing_is_told():
    found = look()
    assert found.nexthops["B", V4] == ResolvedNexthop(V4, TUN1.index, None)
    assert found.nexthops["C", V6] == ResolvedNexthop(V6, TUN2.index, None)
    assert found.missing == ()
    down = look(links=(ETH0, TUN1, link("tun2", running=False)))
    assert down.nexthops.keys() == {("B", V4), ("B", V6)}
    assert down.missing == ("tun0", "tun2")


def test_a_second_peer_behind_one_tunnel_gets_no_routes_and_is_told_so():
    text = THREE_SERVERS.replace("tun2", "tun1")
    found = look(text)
    assert {name for name, _ in found.nexthops} == {"B", "openvpn "}
    (mistake,) = found.errors
    assert mistake.startswith("peer C: the point-to-point interface tun1 already leads to peer B;")
    shared = link("tun1", "10.200.200.1/16", point_to_point=False)
    ethernet = look(text, links=(TUN0, shared))
    assert {name for name, _ in ethernet.nexthops} == {"B", "C", "openvpn "}
    assert ethernet.errors == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (THREE_SERVERS, {"10.200.200.1", "10.200.201.1"}),
        (TWO_SERVERS, {"10.200.200.1"}),
        (TWO_SERVERS.replace("tun1", "eth0"), {"192.0.2.1"}),
        ("listen = 192.0.2.1, 203.0.113.1\n" + THREE_SERVERS, {"192.0.2.1"}),
        (TWO_SERVERS.replace("10.200.200.5", "fd00:2::5"), set()),  # it will not come by IPv4
        (TWO_SERVERS.replace("tun1", "wg0"), set()),
    ],
)
def test_we_listen_where_the_peers_come_from_at_addresses_that_are_there(text, expected):
    assert look(text).listen == {packed(address) for address in expected}


def test_a_link_local_address_is_neither_listened_on_nor_advertised():
    tun1 = link("tun1", "fe80::5/64", "fd00:2::1/64")
    found = look(TWO_SERVERS.replace("10.200.200.5", "fd00:2::5"), links=(TUN0, tun1))
    assert found.listen == {packed("fd00:2::1")}
    assert found.own_data == {Prefix.parse("10.100.100.101"), Prefix.parse("fd00:1::101")}


def test_the_preferred_source_is_our_address_in_the_clients_network():
    found = look()
    assert found.sources == (
        (Prefix.parse("10.100.100.0/24"), packed("10.100.100.101")),
        (Prefix.parse("fd00:1::/64"), packed("fd00:1::101")),
    )
    assert found.data_addresses == {"tun0": "10.100.100.101"}
    assert look(links=(link("tun0", "fd00:1::1/64"),)).data_addresses == {}


# -- services --


@pytest.mark.parametrize("device", ["lo", "tun0", "tun1"])
def test_the_address_of_a_service_is_none_of_this_host(device):
    service = "[service db]\naddress = 10.100.100.200\n[service six]\naddress = fd00:55::1\n"
    links = (*LINKS, link("lo", "127.0.0.1/8"))
    held = [
        attrs.evolve(
            x, addresses=link("x", "10.100.100.200/32", "fd00:55::1/128").addresses + x.addresses
        )
        if x.name == device
        else x
        for x in links
    ]
    found, without = (look(THREE_SERVERS + service, links=tuple(x)) for x in (held, links))
    assert found == without
    assert found.policy.services == {packed("10.100.100.200"): "db", packed("fd00:55::1"): "six"}
    assert packed("127.0.0.1") in found.policy.own_addresses


def test_an_address_that_we_have_added_is_none_of_this_host_without_its_section_either():
    left = attrs.evolve(
        link("tun0", "10.100.100.200/32", *("10.100.100.101/24", "fd00:1::101/64")),
        ours=frozenset({packed("10.100.100.200")}),
    )
    found = look(links=(ETH0, left, TUN1, TUN2))
    assert found.own_data == {Prefix.parse("10.100.100.101"), Prefix.parse("fd00:1::101")}
    assert packed("10.100.100.200") not in found.policy.own_addresses


# -- alternative names --


def test_an_alternative_name_of_an_interface_is_a_name():
    text = THREE_SERVERS.replace("= tun1", "= mgmt-to-b")
    named = [attrs.evolve(x, altnames=("mgmt-to-b",) if x.name == "tun1" else ()) for x in LINKS]
    found = evaluate_links(config(text), named, {}, HostState())
    assert found == evaluate_links(config(THREE_SERVERS), named, {}, HostState())
    assert found.missing == ()
    assert present_interfaces(config(text), named) == ("tun0", "tun1", "tun2")


def test_peers_behind_two_names_of_one_tunnel_are_refused():
    text = THREE_SERVERS.replace("= tun2", "= mgmt-to-b")
    named = [attrs.evolve(x, altnames=("mgmt-to-b",) if x.name == "tun1" else ()) for x in LINKS]
    (error,) = evaluate_links(config(text), named, {}, HostState()).errors
    assert error.startswith(
        "peer C: the point-to-point interface mgmt-to-b already leads to peer B"
    )


# -- several OpenVPNs --


def test_every_openvpn_of_this_host_is_a_neighbour():
    one, two = config(THREE_SERVERS), config(TWO_OPENVPNS + THREE_SERVERS)
    assert [n.name for n in neighbours(one)] == ["B", "C", "openvpn "]
    assert [n.name for n in neighbours(two)] == ["B", "C", "openvpn udp", "openvpn tcp"]
    tun9 = link("tun9", "10.101.0.1/24")
    found = evaluate_links(two, (*LINKS, tun9), {}, HostState())
    assert found.nexthops["openvpn tcp", V4] == ResolvedNexthop(V4, tun9.index, None)
    assert written(found.policy.allowed) == ["10.100.100.0/24", "fd00:1::/64", "10.101.0.0/24"]
    assert found.data_addresses == {"tun0": "10.100.100.101", "tun9": "10.101.0.1"}
    same = evaluate_links(two, (*LINKS, link("tun9", "10.100.100.102/24")), {}, HostState())
    assert written(same.policy.allowed) == ["10.100.100.0/24", "fd00:1::/64"]
    assert data_interfaces(two) == ("tun0", "tun9")
    assert interfaces(two) == ("tun0", "tun9", "tun1", "tun2")


# -- servers --


def test_a_peer_s_data_address_is_known_from_the_configuration():
    assert configured_servers(config(THREE_SERVERS)) == {Prefix.parse("10.100.100.102"): "B"}
    assert configured_servers(config(TWO_SERVERS)) == {}
