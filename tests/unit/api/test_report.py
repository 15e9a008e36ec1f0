from __future__ import annotations

import json
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.api import report
from cuberouted.api.report import OpenVPNRow, PeerRow, RouteCounts, RouteInfo, RouteInfos, Status
from cuberouted.model import MAX_VERSION, Advertisement, Kind, Prefix
from cuberouted.routing.rib import ADOPTED_VERSION, Origin, RibRoute, Source
from cuberouted.routing.types import KernelState, Link, Nexthop, Route

B = Source(Origin.PEER, "B")
HERE = Source(Origin.LOCAL, "")
NOON = 1_795_262_400 * 1_000_000


def claim(prefix, name=b"host1", kind=Kind.CLIENT, version=NOON, source=B, since=NOON // 1_000_000):
    said = Advertisement(Prefix.parse(prefix), kind, name, version, True, since)
    return said.prefix, RibRoute(source, "A" if source is HERE else "vpnsrvB", said)


# -- status --


def status(openvpns=("connected",), peers=("up",)):
    return Status(
        node="A",
        uptime=1.0,
        openvpn=[OpenVPNRow("openvpn", state, "2.6.14", 1) for state in openvpns],
        peers=[PeerRow("B", state, 1, 0.1) for state in peers],
        routes=RouteCounts(1, 1, 0),
    )


@pytest.mark.parametrize(
    ("openvpns", "peers", "well"),
    [
        (["connected"], ["up", "up"], True),
        (["connected"], [], True),
        (["connected", "waiting"], ["up"], False),
        (["silent"], ["up"], False),
        (["connected"], ["up", "syncing"], False),
        (["connected"], ["down"], False),
        (["connected"], ["restarting"], False),
    ],
)
def test_all_is_well_when_openvpn_and_every_peer_are_there(openvpns, peers, well):
    assert status(openvpns, peers).well is well


def test_the_keys_of_status_are_those_of_the_documentation():
    found = json.loads(msgspec.json.encode(status()))
    assert found.keys() >= {"node", "uptime", "openvpn", "peers", "routes"}
    assert found["openvpn"][0].keys() >= {"name", "state", "version", "clients"}
    assert found["peers"][0].keys() >= {"name", "state", "clients", "last_heard"}
    assert found["routes"].keys() == {"desired", "installed", "conflicts"}
    assert msgspec.json.decode(msgspec.json.encode(status()), type=Status) == status()


# -- clients --


def test_clients_and_networks_are_listed_in_the_order_of_their_addresses():
    bests = [
        claim("fd00::5"),
        claim("10.9.0.100"),
        claim("192.168.50.0/24", kind=Kind.NETWORK),
        claim("10.9.0.20", source=HERE),
        claim("10.9.0.1", kind=Kind.SERVER),
        claim("10.9.0.66", version=ADOPTED_VERSION),  # nobody has told of it yet
    ]
    found = json.loads(msgspec.json.encode(report.clients(bests)))["clients"]
    remote = {"node": "vpnsrvB", "name": "host1", "since": "2026-11-21T12:00:00Z", "local": False}
    assert found == [
        remote | {"address": "10.9.0.20", "kind": "client", "node": "A", "local": True},
        remote | {"address": "10.9.0.100", "kind": "client"},
        remote | {"address": "192.168.50.0/24", "kind": "network"},
        remote | {"address": "fd00::5", "kind": "client"},
    ]


def test_since_is_the_sessions_start_also_where_its_version_is_ahead_of_the_clock():
    version = NOON + 3_600_000_000  # it came from a server whose clock is an hour ahead
    (row,) = report.clients([claim("10.9.0.1", version=version)]).clients
    assert row.since == "2026-11-21T12:00:00Z"


@given(st.binary(max_size=64), st.integers(0, MAX_VERSION - 1))
def test_whatever_a_client_is_called_and_since_it_can_be_told(name, since):
    row = claim("10.9.0.1", name=name, since=since)
    (client,) = report.clients([row]).clients
    assert client.name.isprintable()
    assert len(client.since) == len("2026-11-21T12:00:00Z")
    msgspec.json.encode(client)
    msgspec.json.encode(report.route_info(row[1], 1.0))


@pytest.mark.parametrize(
    ("since", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_262_400.9, "2026-11-21T12:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (1e300, "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_iso_8601_in_utc(since, text):
    assert report.iso_time(since) == text


# -- routes --

LINKS = [Link(5, "tun1", True, True, ()), Link(6, "eth1", True, False, ())]
HOST12, HOST13, HOST2, NETWORK = map(
    Prefix.parse, ("10.9.0.12", "10.9.0.13", "10.9.0.2", "fd00:1::/64")
)
INSTALLED = KernelState(
    nexthops={
        1: Nexthop(1, socket.AF_INET, 5, None),
        2: Nexthop(2, socket.AF_INET6, 6, Prefix.parse("fd00::5").address),
        3: Nexthop(3, socket.AF_INET, 99, None),  # its link has gone meanwhile
    },
    routes={
        HOST12: Route(HOST12, 1, None),
        NETWORK: Route(NETWORK, 2, None),
        HOST2: Route(HOST2, 3, None),
        HOST13: Route(HOST13, 4, None),
    },
)
EMPTY = {"node": None, "interface": None, "gateway": None, "kind": None, "name": None, "age": None}


def routes(owners):
    return json.loads(msgspec.json.encode(report.routes(INSTALLED, LINKS, owners)))


def test_routes_are_told_with_whose_they_are():
    owners = RouteInfos("A", {"10.9.0.12/32": RouteInfo("vpnsrvB", "client", "host2", 12.345)})
    found = routes(owners)
    assert found["node"] == "A"
    assert found["routes"] == [
        EMPTY | {"destination": "10.9.0.2/32"},
        {
            "destination": "10.9.0.12/32",
            "node": "vpnsrvB",
            "interface": "tun1",
            "gateway": None,
            "kind": "client",
            "name": "host2",
            "age": 12.3,
        },
        EMPTY | {"destination": "10.9.0.13/32"},
        EMPTY | {"destination": "fd00:1::/64", "interface": "eth1", "gateway": "fd00::5"},
    ]


def test_without_the_daemon_only_what_the_kernel_knows_is_told():
    found = routes(None)
    assert found["node"] is None
    assert found["routes"][1] == EMPTY | {"destination": "10.9.0.12/32", "interface": "tun1"}


@pytest.mark.parametrize(
    ("prefix", "text"),
    [("10.9.0.0/24", "10.9.0.0/24"), ("10.9.0.1/32", "10.9.0.1"), ("fd00::/128", "fd00::")],
)
def test_a_host_is_written_without_its_length(prefix, text):
    assert report.address(Prefix.parse(prefix)) == text
