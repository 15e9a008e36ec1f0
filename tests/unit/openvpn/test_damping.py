from __future__ import annotations

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


def killed_at(
    damping_: KillDamping, start: float, end: float, every: float, name: bytes = b"host1"
) -> list[float]:
    """The times at which a name that connects again at once, and is superseded, is killed."""
    times = []
    now, cid = start, int(start)
    while now < end:
        host = client(cid, name=name)
        if damping_.due([SupersededSession(A, name, host.session, "B")], listing(host), now):
            times.append(now - start)
            cid += 1
        now += every
    return times


def test_the_first_five_kills_are_at_once_and_then_there_is_one_a_minute() -> None:
    times = killed_at(KillDamping(), 1000.0, 1000.0 + 600, 1.0)
    assert times[:5] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert times[5:] == pytest.approx([60.0 * minute for minute in range(1, 10)], abs=1.0)


def test_a_minute_without_a_kill_allows_one_more_at_once_up_to_five() -> None:
    damping_ = KillDamping()
    assert len(killed_at(damping_, 0.0, 10.0, 1.0)) == 5
    assert killed_at(damping_, 130.0, 140.0, 1.0) == [0.0, 1.0]
    assert len(killed_at(damping_, 10_000.0, 10_030.0, 1.0)) == 5


def test_one_session_is_killed_once_a_minute() -> None:
    damping_ = KillDamping()
    killed = [now for now in range(200) if damping_.due([MOVED], listing(HOST), float(now))]
    assert killed == [0, 60, 120, 180]


def test_another_name_is_not_damped() -> None:
    damping_ = KillDamping()
    assert len(killed_at(damping_, 0.0, 5.0, 1.0)) == 5
    assert killed_at(damping_, 5.0, 10.0, 1.0) == []
    assert len(killed_at(damping_, 10.0, 15.0, 1.0, b"host2")) == 5


def test_the_number_of_remembered_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damping, "MAX_NAMES", 10)
    damping_ = KillDamping()
    for i in range(20):
        assert len(killed_at(damping_, 0.0, 10.0, 1.0, b"host%d" % i)) == 5
    assert killed_at(damping_, 10.0, 11.0, 1.0, b"host10") == []
    assert len(killed_at(damping_, 10.0, 20.0, 1.0, b"host9")) == 5
