"""Both state machines of this package have the one contract of `cuberouted.util.machine`."""

from __future__ import annotations

import math

import pytest

from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerActions
from cuberouted.util.machine import Machine
from tests.unit.peering.samples import session

# The annotation is the test: mypy checks that both are machines with the same actions.
MACHINES: dict[str, Machine[PeerActions]] = {
    "session": session(),
    "publisher": Publisher("A", epoch=7, heartbeat_interval=1.0, now=1.0),
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_nothing_is_due_before_the_deadline(machine: Machine[PeerActions]) -> None:
    deadline = machine.deadline
    assert machine.timer(math.nextafter(deadline, -math.inf)) == PeerActions()
    assert machine.deadline == deadline
    assert machine.timer(deadline) != PeerActions()
    assert machine.deadline > deadline
