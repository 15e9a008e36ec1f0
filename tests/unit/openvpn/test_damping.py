from __future__ import annotations

import itertools

import pytest

from cuberouted.model import Prefix, SessionId, SupersededSession
from cuberouted.openvpn import damping
from cuberouted.openvpn.damping import Kill, KillDamping
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import IgnoredRows, ListedClient, Listing

A, NET = Prefix.parse("10.9.0.50"), Prefix.parse("192.168.50.0/24")
HOST_ID = SessionId(1, 7)
MOVED = SupersededSession(A, b"host1", HOST_ID, "vpnsrvB")


def client(
    cid: int = 1, since: int = 7, name: bytes = b"host1", prefixes: tuple[Prefix, ...] = (A, NET)
) -> ListedClient:
    return ListedClient(SessionId(cid, since), name, b"", b"", b"", prefixes)


def listing(*clients: ListedClient) -> Listing:
    return Listing(clients, {}, IgnoredRows())


HOST = client()


def test_a_superseded_session_that_is_still_listed_is_killed_once() -> None:
    both = [MOVED, SupersededSession(NET, b"host1", HOST_ID, "vpnsrvB")]
    (kill,) = KillDamping().due(both, listing(HOST), 0.0)
    assert kill == Kill(HOST, MOVED)


@pytest.mark.parametrize(
    "clients",
    [
        (),
        (client(cid=2),),
        (client(since=8),),
        (client(prefixes=()),),
        (client(name=b"host2"),),
        (HOST, client(cid=2, prefixes=())),  # duplicate-cn
    ],
)
def test_no_other_session_is_killed(clients: tuple[ListedClient, ...]) -> None:
    assert KillDamping().due([MOVED], listing(*clients), 0.0) == ()


def test_without_client_ids_the_start_identifies_the_session() -> None:
    assert KillDamping().due([MOVED], listing(client(cid=NO_CID)), 0.0)
    assert not KillDamping().due([MOVED], listing(client(cid=NO_CID, since=8)), 0.0)


def killed_at(damping_: KillDamping, start: float, end: float, every: float) -> list[float]:
    """The times at which a name that is superseded all the time is killed."""
    times = []
    now = start
    while now < end:
        if damping_.due([MOVED], listing(HOST), now):
            times.append(now - start)
        now += every
    return times


def test_two_devices_with_one_certificate_are_killed_at_growing_intervals() -> None:
    minute = 60.0
    times = killed_at(KillDamping(), 1000.0, 1000.0 + 6 * 3600, 10.0)
    pauses = [(b - a) / minute for a, b in itertools.pairwise(times)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_an_hour_without_a_reason_resets_the_damping() -> None:
    damping_ = KillDamping()
    killed_at(damping_, 0.0, 1000.0, 10.0)
    assert killed_at(damping_, 990.0 + 3600, 5000.0, 10.0)[:2] == [0.0, 60.0]


def test_another_name_is_not_damped() -> None:
    damping_ = KillDamping()
    other = client(2, 7, b"host2", (Prefix.parse("10.9.0.51"),))
    moved = SupersededSession(other.prefixes[0], b"host2", other.session, "vpnsrvB")
    assert damping_.due([MOVED], listing(HOST), 0.0)
    assert damping_.due([MOVED, moved], listing(HOST, other), 1.0) == (Kill(other, moved),)


def test_the_number_of_remembered_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damping, "MAX_NAMES", 10)
    damping_ = KillDamping()
    for i in range(20):
        other = client(name=b"host%d" % i)
        moved = SupersededSession(A, other.name, other.session, "vpnsrvB")
        assert damping_.due([moved], listing(other), 0.0)
        assert not damping_.due([moved], listing(other), 1.0)
