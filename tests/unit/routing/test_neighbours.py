from __future__ import annotations

import socket

import pytest

from cuberouted.model import Prefix
from cuberouted.routing.neighbours import (
    Neighbour,
    ResolvedNexthop,
    connected_networks,
    preferred_sources,
    resolve,
)
from cuberouted.routing.types import Address, Link

V4, V6 = socket.AF_INET, socket.AF_INET6
IP4, IP6 = Prefix.parse("10.200.200.5").address, Prefix.parse("fd00::5").address


def address(text, network):
    return Address(Prefix.parse(text).address, Prefix.parse(network))


def link(name="tun1", *addresses, running=True, point_to_point=True, index=7):
    return Link(index, name, running, point_to_point, addresses)


@pytest.mark.parametrize(
    ("peer", "point_to_point", "expected"),
    [
        # on a tunnel the device is all there is to say
        (IP4, True, {V4: ResolvedNexthop(V4, 7, None), V6: ResolvedNexthop(V6, 7, None)}),
        (IP6, True, {V4: ResolvedNexthop(V4, 7, None), V6: ResolvedNexthop(V6, 7, None)}),
        (None, True, {V4: ResolvedNexthop(V4, 7, None), V6: ResolvedNexthop(V6, 7, None)}),
        # elsewhere it is the address; the kernel knows IPv4 through IPv6, not the reverse
        (IP4, False, {V4: ResolvedNexthop(V4, 7, IP4)}),
        (IP6, False, {V4: ResolvedNexthop(V6, 7, IP6), V6: ResolvedNexthop(V6, 7, IP6)}),
        (
            None,
            False,
            {V4: ResolvedNexthop(V4, 7, None), V6: ResolvedNexthop(V6, 7, None)},
        ),  # an OpenVPN's own tap
    ],
)
def test_a_peer_is_reached_through_its_device_or_its_address(peer, point_to_point, expected):
    links = {"tun1": link(point_to_point=point_to_point)}
    found = resolve([Neighbour("B", "tun1", peer)], links)
    assert found == {("B", family): path for family, path in expected.items()}


@pytest.mark.parametrize("links", [{}, {"tun1": link(running=False)}, {"tun2": link("tun2")}])
def test_a_peer_whose_device_is_away_or_down_is_not_reached(links):
    assert resolve([Neighbour("B", "tun1", IP4)], links) == {}


def test_the_preferred_source_is_the_data_interface_s_own_address():
    tun0 = link(
        "tun0",
        address("10.100.100.1", "10.100.100.0/24"),
        address("fe80::1", "fe80::/64"),
        address("fd00:1::1", "fd00:1::/64"),
    )
    tun9 = link("tun9", address("10.9.0.1", "10.9.0.2/32"))
    assert preferred_sources([tun0, tun9]) == (
        (Prefix.parse("10.100.100.0/24"), Prefix.parse("10.100.100.1").address),
        (Prefix.parse("fd00:1::/64"), Prefix.parse("fd00:1::1").address),
        (Prefix.parse("10.9.0.2/32"), Prefix.parse("10.9.0.1").address),
    )


def test_the_clients_networks_are_the_interface_s_and_what_is_routed_to_it():
    tun0 = link(
        "tun0",
        address("10.100.100.1", "10.100.100.2/32"),  # topology net30
        address("fe80::1", "fe80::/64"),
        address("fd00:1::1", "fd00:1::/64"),
    )
    through = map(
        Prefix.parse,
        (
            "10.100.100.0/24",
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "::/0",
            "ff00::/8",
            "10.0.0.0/8",
        ),
    )
    assert [str(network) for network in connected_networks(tun0, through)] == [
        "10.0.0.0/8",
        "10.100.100.0/24",
        "10.100.100.2/32",
        "fd00:1::/64",
    ]
    assert connected_networks(link(), ()) == ()
