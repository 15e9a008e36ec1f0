"""Whether the other nodes can take the clients of a node that is to be drained."""

from __future__ import annotations

import pytest

from cuberouted.maintenance.guards import OtherNode, examine
from cuberouted.model import NodeInfo, NodeState


def node(name, state="active", capacity=0, clients=0, is_up=True):
    info = NodeInfo(state=NodeState(state), capacity=capacity, clients=clients)
    return OtherNode(name, is_up, info)


@pytest.mark.parametrize(
    ("others", "clients", "why"),
    [
        ([], 0, "no other node takes clients: none is configured"),
        ([node("B", is_up=False)], 0, "no other node takes clients: B is down"),
        (
            [node("B", "draining"), node("C", "maintenance"), OtherNode("D", False)],
            5,
            "no other node takes clients: B is draining, C is in maintenance, D is down",
        ),
        (
            [node("B", capacity=10, clients=8), node("C", capacity=5, clients=7)],
            3,
            "3 clients are here, and the others have room for 2 (B 2, C 0)",
        ),
        ([node("B", capacity=10, clients=8), node("C", capacity=5, clients=4)], 3, None),
        ([node("B", capacity=10, clients=10), node("C")], 1000, None),
        ([node("B", capacity=1), node("C", "draining")], 2, "2 clients are here"),
        ([node("B")], 20_000, None),
    ],
)
def test_it_is_refused_if_nobody_has_the_room(others, clients, why):
    refusals = examine(others, clients).refusals
    if why is None:
        assert refusals == ()
    else:
        [refusal] = refusals
        assert refusal.startswith(why)


def test_a_node_that_says_nothing_counts_and_is_told():
    verdict = examine([OtherNode("B", True), node("C", capacity=1)], 100)
    assert verdict.refusals == ()
    assert verdict.notes[0].startswith("B does not say whether clients are taken there")
    [note] = examine([OtherNode("B", True), OtherNode("C", True)], 1).notes
    assert note.startswith("B, C do not say")
    assert examine([OtherNode("B", False)], 1).notes == ()
