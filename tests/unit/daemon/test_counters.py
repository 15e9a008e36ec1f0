from __future__ import annotations

from typing import Any

import pytest

from cuberouted.daemon.counters import Counters
from cuberouted.events import (
    ClientJoined,
    ClientKilled,
    ClientLeft,
    ClientMoved,
    ClientRenewed,
    RouteChanged,
    RoutesRestored,
    RouteTrace,
)
from cuberouted.model import Kind

HOST: Any = {"address": "10.100.100.11", "client": "host1"}
NETWORK: Any = {"address": "192.168.7.0/24", "client": "host1", "kind": Kind.NETWORK}


@pytest.fixture
def counters():
    return Counters()


def test_clients_are_counted_and_networks_behind_them_are_not(counters):
    for subject in (HOST, NETWORK):
        counters.count(ClientJoined(**subject, to_node="A"))
        counters.count(ClientMoved(**subject, from_node="A", to_node="B"))
        counters.count(ClientMoved(**subject, from_node="B", to_node="A"))
        counters.count(ClientRenewed(**subject, to_node="A"))
        counters.count(ClientLeft(**subject, from_node="A"))
    assert (counters.joined, counters.moved, counters.left) == (1, 2, 1)
    assert counters.events[ClientMoved] == 4


def test_what_took_a_route_enters_the_histogram(counters):
    counters.count(ClientJoined(**HOST, to_node="A", routed_after=0.0021))
    counters.count(ClientMoved(**HOST, from_node="A", to_node="B", routed_after=0.003))
    counters.count(ClientMoved(**HOST, from_node="B", to_node="A"))  # to this node: no route
    assert counters.convergence.cumulative()[-1] == 2
    assert counters.convergence.sum == pytest.approx(0.0051)


def test_routes_kills_and_restored_routes(counters):
    for trace in (RouteTrace.ADDED, RouteTrace.ADDED, RouteTrace.MOVED):
        counters.count(RouteChanged(address="10.100.100.11", trace=trace))
    counters.count(ClientKilled(**HOST, openvpn="udp", cid=3, why="superseded by one on B"))
    counters.count(RoutesRestored(routes=3, rules=1))
    assert counters.route_changes == {
        **dict.fromkeys(RouteTrace, 0),
        RouteTrace.ADDED: 2,
        RouteTrace.MOVED: 1,
    }
    assert counters.killed == {"udp": 1}
    assert counters.routes_restored == 3
