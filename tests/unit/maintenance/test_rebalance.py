"""The share of a node, and whom it sends on to have no more."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.maintenance.guards import OtherNode
from cuberouted.maintenance.rebalance import Rebalance, share
from cuberouted.model import Kind, LocalRoute, NodeInfo, NodeState, Prefix, SessionId


def node(name, clients, capacity=0, state="active", is_up=True):
    info = NodeInfo(state=NodeState(state), capacity=capacity, clients=clients)
    return OtherNode(name, is_up, info)


@pytest.mark.parametrize(
    ("clients", "capacity", "others", "surplus", "fuller"),
    [
        (60, 0, [node("B", 30), node("C", 30)], 20, ""),
        (30, 0, [node("B", 60), node("C", 30)], 0, "B"),
        (30, 0, [node("B", 30), node("C", 31)], 0, ""),
        (31, 0, [node("B", 30)], 0, ""),
        (32, 0, [node("B", 30)], 1, ""),
        (60, 100, [node("B", 30, 50)], 0, ""),
        (80, 100, [node("B", 10, 50)], 20, ""),
        (60, 100, [node("B", 30, 50), node("C", 0)], 30, ""),  # one without a capacity
        (60, 0, [node("B", 0, is_up=False), node("C", 0, state="draining")], 0, ""),
        (60, 0, [node("B", 0, is_up=False), node("C", 58)], 1, ""),
        (60, 0, [OtherNode("B", True, None, clients=20)], 20, ""),
        (60, 0, [OtherNode("B", True, NodeInfo(), clients=20)], 20, ""),  # an older version
    ],
)
def test_the_share_is_even_or_by_capacity(clients, capacity, others, surplus, fuller):
    found = share(clients, capacity, others)
    assert (found.surplus, found.fuller) == (surplus, fuller)
    assert bool(found.why) != bool(surplus)


def test_it_is_told_why_there_is_nothing_to_do():
    assert share(9, 0, []).why == "no other node takes clients"
    assert share(9, 0, [node("B", 9)]).why == "the clients are even"
    assert share(9, 0, [node("B", 30)]).why == "B has more than its share: run it there"


@given(st.integers(0, 500), st.lists(st.integers(0, 500), min_size=1, max_size=5))
def test_what_is_sent_on_leaves_the_share(clients, others):
    found = share(clients, 0, [node(str(n), count) for n, count in enumerate(others)])
    assert clients - found.surplus >= found.share - 1e-6 or not found.surplus
    assert clients - found.surplus < found.share + 1 or not found.surplus


def routes(*names, first=1):
    return tuple(
        LocalRoute(
            Prefix.host(IPv4Address(f"10.9.0.{number}").packed),
            Kind.CLIENT,
            name,
            SessionId(number, 7),
            announced=True,
            confirmed=True,
        )
        for number, name in enumerate(names, first)
    )


def test_nobody_is_sent_on_twice_and_each_is_somebody():
    rebalance = Rebalance(6.0, 0.0, lambda: 0.6)
    here = {"udp": routes(b"a", b"b", b"c"), "tcp": routes(b"d", b"a", first=10)}
    chosen = []
    for _ in range(4):
        session = rebalance.choose(here, lambda _: "")
        assert session is not None
        assert any(route.session == session.session for route in here[session.instance])
        chosen.append(session.name)
    assert sorted(chosen) == [b"a", b"b", b"c", b"d"]
    assert rebalance.choose(here, lambda _: "") is None
    assert rebalance.choose({}, lambda _: "") is None
    assert rebalance.sent == 4


def test_who_is_elsewhere_already_is_not_chosen():
    rebalance = Rebalance(6.0, 0.0, lambda: 0.0)
    session = rebalance.choose(
        {"": routes(b"a", b"b")}, lambda session: "B" if session.name == b"a" else ""
    )
    assert session is not None
    assert session.name == b"b"


def test_the_pace_is_so_many_a_minute():
    rebalance = Rebalance(6.0, 0.0, lambda: 0.5)
    times = [at for at in range(60) if rebalance.is_due(at)]
    assert times == [0, 10, 20, 30, 40, 50]
    assert rebalance.deadline == 60.0
