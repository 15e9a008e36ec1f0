"""Which events of a storm are logged."""

from __future__ import annotations

from math import inf

from cuberouted.daemon.log.storm import (
    MAX_KINDS,
    MAX_LINES,
    MAX_SUBJECT_LINES,
    WINDOW,
    StormLimit,
    Suppressed,
)
from cuberouted.events import (
    ClientJoined,
    ClientMoved,
    Level,
    PeerStateChanged,
    PeerWarning,
    ServiceChecked,
)


def joined(number: int) -> ClientJoined:
    address = f"10.0.{number // 256}.{number % 256}"
    return ClientJoined(address=address, client=f"host{number}", to_node="A")


def changed(peer: str, new: str = "down") -> PeerStateChanged:
    return PeerStateChanged(peer=peer, known_as=peer, old="up", new=new, why="")


def test_many_events_of_a_type_are_counted_at_the_end_of_the_window() -> None:
    storm = StormLimit()
    assert storm.deadline == inf
    logged = [storm.allow(joined(number), now=1.0 + number / 1000) for number in range(2000)]
    assert logged == [True] * MAX_LINES + [False] * (2000 - MAX_LINES)
    assert storm.deadline == 1.0 + WINDOW
    assert storm.timer(10.9) == []
    (suppressed,) = storm.timer(11.0)
    assert str(suppressed) == ("1,950 more events client_joined in 10 s; see `cuberouted history`")
    assert storm.deadline == inf
    assert storm.allow(joined(1), now=11.0)


def test_a_storm_that_goes_on_is_counted_for_each_window() -> None:
    storm, counts, logged = StormLimit(), [], 0
    for tick in range(400):  # ten a second
        now = tick / 10
        counts += [item.count for item in storm.timer(now)]
        logged += storm.allow(joined(tick), now)
    assert counts == [50, 50, 50]
    assert logged == 4 * MAX_LINES


def test_another_type_is_not_affected() -> None:
    storm = StormLimit()
    for number in range(2000):
        storm.allow(joined(number), 1.0)
    assert storm.allow(ClientMoved(address="x", client="c", from_node="A", to_node="B"), 1.0)


def test_a_peer_that_flaps_does_not_hide_another() -> None:
    storm = StormLimit()
    for number in range(200):
        storm.allow(changed("A", "up" if number % 2 else "down"), 1.0)
    assert all(storm.allow(changed(f"B{number}"), 1.0) for number in range(200))
    assert storm.timer(11.0) == [
        Suppressed(200 - MAX_LINES, Level.WARNING, "peer_state_changed", "A")
    ]


def test_a_service_that_flaps_does_not_hide_another() -> None:
    storm = StormLimit()
    for _ in range(2 * MAX_LINES):
        storm.allow(ServiceChecked(service="db", healthy=True), now=0.0)
    assert storm.allow(ServiceChecked(service="web", healthy=False), now=0.1)
    (suppressed,) = storm.timer(WINDOW)
    assert suppressed.about == "db"


def test_a_client_that_flaps_does_not_hide_another() -> None:
    storm = StormLimit()
    logged = [storm.allow(joined(1), 1.0) for _ in range(100)]
    assert sum(logged) == MAX_SUBJECT_LINES
    assert storm.allow(joined(2), 1.0)
    assert [item.count for item in storm.timer(11.0)] == [100 - MAX_SUBJECT_LINES]


def test_the_memory_is_bounded_by_the_names_that_peers_announce() -> None:
    storm = StormLimit()
    for number in range(3 * MAX_KINDS):
        storm.allow(PeerWarning(peer=f"{number} (B)", why="x"), 1.0)
    items = storm.timer(11.0)
    assert [str(item) for item in items] == [
        f"{2 * MAX_KINDS - MAX_LINES:,} more events of many kinds in 10 s; see `cuberouted history`"
    ]


def test_windows_end_one_after_the_other() -> None:
    storm = StormLimit()
    for number in range(MAX_LINES + 1):
        storm.allow(changed("A"), 1.0)
        storm.allow(joined(number), 3.0)
    assert [item.type for item in storm.timer(12.0)] == ["peer_state_changed"]
    assert storm.deadline == 13.0
    assert [str(item) for item in storm.timer(13.0)] == [
        "1 more event client_joined in 10 s; see `cuberouted history`"
    ]
