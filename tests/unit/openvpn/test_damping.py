from __future__ import annotations

import itertools

import pytest

from cuberouted.model import Prefix, SessionId, SupersededSession
from cuberouted.openvpn import damping
from cuberouted.openvpn.damping import Kill, KillDamping
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import Client, Ignored, Listing, Session

A, NET = Prefix.parse("10.9.0.50"), Prefix.parse("192.168.50.0/24")
HOST = Session(1, 7, b"host1", (A,), (NET,))
MOVED = SupersededSession(A, b"host1", SessionId(1, 7), "vpnsrvB")


def listing(*sessions: Session) -> Listing:
    clients = [
        Client(s.cid, s.since, s.name, b"", b"", b"", s.addresses, s.networks) for s in sessions
    ]
    return Listing(clients, {}, Ignored())


def test_a_superseded_session_that_is_still_listed_is_dropped_once() -> None:
    both = [MOVED, SupersededSession(NET, b"host1", SessionId(1, 7), "vpnsrvB")]
    (drop,) = KillDamping().due(both, listing(HOST), 0.0)
    assert drop == Kill(HOST, MOVED)


@pytest.mark.parametrize(
    "sessions",
    [
        (),
        (HOST._replace(cid=2),),
        (HOST._replace(since=8),),
        (HOST._replace(addresses=(), networks=()),),
        (HOST._replace(name=b"host2"),),
        (HOST, HOST._replace(cid=2, addresses=())),  # duplicate-cn
    ],
)
def test_nobody_else_is_dropped(sessions: tuple[Session, ...]) -> None:
    assert KillDamping().due([MOVED], listing(*sessions), 0.0) == ()


def test_without_client_ids_the_start_tells_the_session() -> None:
    assert KillDamping().due([MOVED], listing(HOST._replace(cid=NO_CID)), 0.0)
    assert not KillDamping().due([MOVED], listing(HOST._replace(cid=NO_CID, since=8)), 0.0)


def dropped_at(machine: KillDamping, start: float, end: float, every: float) -> list[float]:
    """When a name that is superseded all the time is dropped."""
    times = []
    now = start
    while now < end:
        if machine.due([MOVED], listing(HOST), now):
            times.append(now - start)
        now += every
    return times


def test_two_devices_with_one_certificate_make_no_flood_of_drops() -> None:
    minute = 60.0
    times = dropped_at(KillDamping(), 1000.0, 1000.0 + 6 * 3600, 10.0)
    pauses = [(b - a) / minute for a, b in itertools.pairwise(times)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_an_hour_of_quiet_resets_the_damping() -> None:
    machine = KillDamping()
    dropped_at(machine, 0.0, 1000.0, 10.0)
    assert dropped_at(machine, 990.0 + 3600, 5000.0, 10.0)[:2] == [0.0, 60.0]


def test_another_name_is_not_damped() -> None:
    machine = KillDamping()
    other = HOST._replace(name=b"host2", cid=2, addresses=(Prefix.parse("10.9.0.51"),))
    moved = SupersededSession(other.addresses[0], b"host2", other.id, "vpnsrvB")
    assert machine.due([MOVED], listing(HOST), 0.0)
    assert machine.due([MOVED, moved], listing(HOST, other), 1.0) == (Kill(other, moved),)


def test_names_are_not_remembered_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damping, "MAX_NAMES", 10)
    machine = KillDamping()
    for i in range(20):
        session = HOST._replace(name=b"host%d" % i)
        moved = SupersededSession(A, session.name, session.id, "vpnsrvB")
        assert machine.due([moved], listing(session), 0.0)
        assert not machine.due([moved], listing(session), 1.0)
