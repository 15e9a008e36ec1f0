from __future__ import annotations

import socket

import msgspec

from cuberouted.api.report import RouteInfo, RouteInfos
from cuberouted.api.selection import Selection
from cuberouted.cli.dump_routes import route_rows
from cuberouted.model import Prefix
from cuberouted.routing.types import KernelState, Link, Nexthop, Route
from tests.openapi.validation import validate

LINKS = [Link(5, "tun1", True, True, ()), Link(6, "eth1", True, False, ())]
HOST12, HOST13, HOST2, NETWORK = map(
    Prefix.parse, ("10.9.0.12", "10.9.0.13", "10.9.0.2", "fd00:1::/64")
)
INSTALLED = KernelState(
    nexthops={
        1: Nexthop(1, socket.AF_INET, 5, None),
        2: Nexthop(2, socket.AF_INET6, 6, Prefix.parse("fd00::5").address),
        3: Nexthop(3, socket.AF_INET, 99, None),  # its link is gone meanwhile
    },
    routes={
        HOST12: Route(HOST12, 1, None),
        NETWORK: Route(NETWORK, 2, None),
        HOST2: Route(HOST2, 3, None),
        HOST13: Route(HOST13, 4, None),
    },
)
EVERYTHING = Selection()
EMPTY = {"node": None, "interface": None, "gateway": None, "kind": None, "name": None, "age": None}


def rows(infos, selection=EVERYTHING):
    printed = msgspec.json.encode(route_rows(INSTALLED, LINKS, infos, selection))
    return validate("dump-routes", printed.decode())


def test_routes_are_shown_with_what_the_daemon_knows():
    infos = RouteInfos("A", {"10.9.0.12/32": RouteInfo("vpnsrvB", "client", "host2", 12.345)})
    found = rows(infos)
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


def test_without_the_daemon_only_what_the_kernel_knows_is_shown():
    found = rows(None)
    assert found["node"] is None
    assert found["routes"][1] == EMPTY | {"destination": "10.9.0.12/32", "interface": "tun1"}


def destinations(infos, selection):
    return [row["destination"] for row in rows(infos, selection)["routes"]]


def test_a_prefix_selects_also_what_the_daemon_does_not_know():
    infos = RouteInfos("A", {"10.9.0.12/32": RouteInfo("vpnsrvB", "client", "host2", 12.345)})
    for known in (infos, None):
        found = destinations(known, Selection.of(prefix="10.9.0.8/29"))
        assert found == ["10.9.0.12/32", "10.9.0.13/32"]


def test_a_name_selects_what_the_daemon_has_found():
    infos = RouteInfos("A", {"10.9.0.12/32": RouteInfo("vpnsrvB", "client", "host2", 12.345)})
    assert destinations(infos, Selection.of(name="host2")) == ["10.9.0.12/32"]
