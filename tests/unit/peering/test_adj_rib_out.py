from __future__ import annotations

import math

import pytest

from cuberouted.peering.adj_rib_out import Outgoing, Publisher
from cuberouted.peering.messages import (
    AnyMessage,
    Goodbye,
    Heartbeat,
    SnapshotPart,
    Update,
    decode,
    snapshot_topic,
)
from tests.unit.peering.samples import client, clients

TOPIC, LATER = snapshot_topic(bytes(8)), snapshot_topic(bytes(7) + b"\x01")


def messages(said: list[Outgoing]) -> list[AnyMessage]:
    return [decode(frames) for frames in said]


def publisher(*, synced: bool = True) -> Publisher:
    """Node A's publisher at time 0, its first heartbeat said."""
    made = Publisher("A", epoch=7, heartbeat_interval=1.0, now=0.0)
    if synced:
        made.synced(0.0)
    return made


def test_updates_are_numbered_from_one() -> None:
    voice = publisher()
    first = voice.say(clients(1), (), now=0.1)
    second = voice.say((), [client(1).prefix], now=0.2)
    assert messages(first + second) == [
        Update(node="A", epoch=7, seq=1, advertise=clients(1)),
        Update(node="A", epoch=7, seq=2, withdraw=(client(1).prefix,)),
    ]


def test_what_changes_nothing_is_not_said() -> None:
    voice = publisher()
    voice.say(clients(1), (), 0.1)
    assert voice.say(clients(1), [client(2).prefix], 0.2) == []
    assert voice.say((), (), 0.2) == []
    assert messages(voice.say([client(1, version=2)], (), 0.3)) != []


def test_a_prefix_both_advertised_and_withdrawn_is_advertised() -> None:
    voice = publisher()
    voice.say(clients(1), (), 0.1)
    assert voice.say(clients(1), [client(1).prefix], 0.2) == []
    (update,) = messages(voice.say([client(1, version=2)], [client(1).prefix], 0.3))
    assert update == Update(node="A", epoch=7, seq=2, advertise=(client(1, version=2),))


def test_a_large_update_is_cut_into_updates_of_their_own() -> None:
    said = publisher().say(clients(*range(1200)), (), 0.1)
    assert [(m.seq, len(m.advertise)) for m in messages(said) if isinstance(m, Update)] == [
        (1, 500),
        (2, 500),
        (3, 200),
    ]


def test_a_heartbeat_is_due_only_when_nothing_else_was_said() -> None:
    voice = publisher()
    voice.say(clients(1), (), 0.9)
    assert voice.timer(1.0) == []
    assert voice.deadline == pytest.approx(1.9)
    assert messages(voice.timer(1.9)) == [Heartbeat(node="A", epoch=7, seq=1, syncing=False)]
    assert voice.deadline == pytest.approx(2.9)


def test_a_subscription_is_greeted_at_most_every_100_ms() -> None:
    voice = publisher()
    voice.request(b"\x01u", "b", 0.05)
    assert voice.timer(0.05) == []
    assert voice.deadline == pytest.approx(0.1)
    voice.request(b"\x01u", "c", 0.06)
    assert len(voice.timer(0.1)) == 1
    assert voice.timer(0.11) == []
    voice.request(b"\x01u", "b", 0.5)
    assert len(voice.timer(0.5)) == 1


def test_a_snapshot_holds_everything_at_its_seq_on_its_topic_alone() -> None:
    voice = publisher()
    voice.say(clients(*range(501)), (), 0.1)
    voice.request(b"\x01" + TOPIC, "b", 0.2)
    said = voice.timer(0.2)
    assert {topic for topic, _ in said} == {TOPIC}
    parts = [m for m in messages(said) if isinstance(m, SnapshotPart)]
    assert [(p.index, p.count, p.seq) for p in parts] == [(0, 2, 2), (1, 2, 2)]
    assert [a for p in parts for a in p.advertisements] == list(clients(*range(501)))


def test_a_node_without_clients_says_so() -> None:
    voice = publisher()
    voice.request(b"\x01" + TOPIC, "b", 0.1)
    (part,) = messages(voice.timer(0.1))
    assert isinstance(part, SnapshotPart)
    assert (part.count, part.advertisements) == (1, ())


def test_one_request_a_second_is_answered_for_each_peer_the_last_one_late() -> None:
    voice = publisher()
    for topic, peer in ((TOPIC, "b"), (TOPIC, "c")):
        voice.request(b"\x01" + topic, peer, 0.1)
    assert [topic for topic, _ in voice.timer(0.1) + voice.timer(0.1)] == [TOPIC, TOPIC]
    voice.request(b"\x01" + TOPIC, "b", 0.2)
    voice.request(b"\x01" + LATER, "b", 0.3)
    assert voice.timer(0.3) == []
    assert voice.deadline == 1.0  # the heartbeat
    voice.timer(1.0)
    assert voice.deadline == pytest.approx(1.1)
    assert [topic for topic, _ in voice.timer(1.1)] == [LATER]


def test_who_no_longer_waits_is_not_answered() -> None:
    voice = publisher()
    voice.request(b"\x01" + TOPIC, "b", 0.1)
    voice.timer(0.1)
    voice.request(b"\x01" + TOPIC, "b", 0.2)
    voice.request(b"\x00" + TOPIC, None, 0.3)
    voice.timer(1.0)
    assert voice.timer(1.5) == []


def test_until_synced_it_says_syncing_and_answers_nobody() -> None:
    voice = publisher(synced=False)
    assert voice.say(clients(1), (), 0.0) == []
    voice.request(b"\x01" + TOPIC, "b", 0.0)
    assert messages(voice.timer(0.0)) == [Heartbeat(node="A", epoch=7, seq=0, syncing=True)]
    assert voice.deadline == 1.0
    heartbeat, part = messages(voice.synced(0.5))
    assert heartbeat == Heartbeat(node="A", epoch=7, seq=0, syncing=False)
    assert isinstance(part, SnapshotPart)
    assert part.advertisements == clients(1)


@pytest.mark.parametrize(
    ("frame", "peer"),
    [
        (b"", "b"),
        (b"\x01", "b"),
        (b"\x01s/", "b"),
        (b"\x01" + TOPIC[:-1], "b"),
        (b"\x02hello", "b"),
        (b"\x01" + TOPIC, None),
        (b"\x01u", None),
    ],
)
def test_anything_else_is_ignored_and_counted(frame: bytes, peer: str | None) -> None:
    voice = publisher()
    voice.request(frame, peer, 0.1)
    assert voice.ignored == 1
    assert voice.timer(0.2) == []


@pytest.mark.parametrize("restarting", [True, False])
def test_nothing_is_said_after_the_goodbye(restarting: bool) -> None:
    voice = publisher()
    voice.say(clients(1), (), 0.1)
    last = messages(voice.goodbye(restarting=restarting))
    assert last == [Goodbye(node="A", epoch=7, seq=1, restarting=restarting)]
    voice.request(b"\x01" + TOPIC, "b", 0.2)
    assert voice.say(clients(2), (), 0.3) == voice.timer(9.0) == []
    assert voice.goodbye(restarting=restarting) == []
    assert voice.deadline == math.inf


def test_another_pace_holds_at_once() -> None:
    voice = publisher()
    voice.reconfigure(0.1, 0.2)
    assert voice.deadline == pytest.approx(0.3)
    voice.timer(voice.deadline)
    assert voice.deadline == pytest.approx(0.4)
