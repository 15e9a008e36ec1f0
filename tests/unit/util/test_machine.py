"""Every sans-IO machine keeps the contract of `cuberouted.util.machine`."""

from __future__ import annotations

import attrs
import pytest

from cuberouted.openvpn.connection import ManagementActions, ManagementConnection
from cuberouted.openvpn.damping import KillDamping
from cuberouted.openvpn.life import LifeWatch
from cuberouted.openvpn.polling import Polling
from cuberouted.openvpn.sessions import Sessions
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerActions, PeerLimits
from cuberouted.peering.session import PeerSession
from cuberouted.util.machine import Machine

START = 1000.0


def management_connection() -> Machine[ManagementActions]:
    return ManagementConnection(
        Sessions(""), Polling(1.0, 30.0), KillDamping(), LifeWatch(), None, START
    )


def peer_session() -> Machine[PeerActions]:
    return PeerSession("B", "B", "A", PeerLimits(3.0, 30.0, 100), START)


def publisher() -> Machine[PeerActions]:
    return Publisher("A", 1, 1.0, START)


@pytest.mark.parametrize("new", [management_connection, peer_session, publisher])
def test_a_timer_before_its_deadline_changes_nothing(new):
    machine = new()
    machine.timer(START)
    deadline = machine.deadline
    assert deadline > START
    actions = machine.timer((START + deadline) / 2)
    assert actions == type(actions)()
    assert machine.deadline == deadline


@pytest.mark.parametrize("new", [management_connection, peer_session, publisher])
def test_a_timer_at_its_deadline_moves_the_deadline(new):
    machine = new()
    machine.timer(START)
    deadline = machine.deadline
    machine.timer(deadline)
    assert machine.deadline > deadline


@pytest.mark.parametrize("actions", [ManagementActions, PeerActions])
def test_actions_are_empty_unless_something_has_to_be_done(actions):
    assert actions.__name__.endswith("Actions")
    assert not any(attrs.astuple(actions(), recurse=False))
