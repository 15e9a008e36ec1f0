from __future__ import annotations

import math

import pytest

from cuberouted.model import NodeInfo, NodeState
from cuberouted.peering.adj_rib_out import PARTS_PER_SLICE, UNRECEIVED_TIME, Publisher
from cuberouted.peering.events import PeerActions
from cuberouted.peering.messages import (
    PART_PREFIXES,
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


def messages(*actions: PeerActions) -> list[AnyMessage]:
    """The messages that *actions* publish."""
    return [decode(outgoing) for each in actions for outgoing in each.publish]


def topics(*actions: PeerActions) -> list[bytes]:
    return [outgoing.topic for each in actions for outgoing in each.publish]


def publisher(*, synced: bool = True) -> Publisher:
    """Node A's publisher at time 0, after its first heartbeat."""
    made = Publisher("A", epoch=7, heartbeat_interval=1.0, now=0.0)
    if synced:
        made.initial_sync_done(0.0)
    return made


def test_updates_are_numbered_from_one() -> None:
    sender = publisher()
    first = sender.announce(clients(1), (), now=0.1)
    second = sender.announce((), [client(1).prefix], now=0.2)
    assert messages(first, second) == [
        Update(node="A", epoch=7, seq=1, advertise=clients(1)),
        Update(node="A", epoch=7, seq=2, withdraw=(client(1).prefix,)),
    ]


def test_an_announcement_without_a_change_is_not_published() -> None:
    sender = publisher()
    sender.announce(clients(1), (), 0.1)
    assert sender.announce(clients(1), [client(2).prefix], 0.2) == PeerActions()
    assert sender.announce((), (), 0.2) == PeerActions()
    assert messages(sender.announce([client(1, version=2)], (), 0.3)) != []


def test_a_prefix_both_advertised_and_withdrawn_is_advertised() -> None:
    sender = publisher()
    sender.announce(clients(1), (), 0.1)
    assert sender.announce(clients(1), [client(1).prefix], 0.2) == PeerActions()
    (update,) = messages(sender.announce([client(1, version=2)], [client(1).prefix], 0.3))
    assert update == Update(node="A", epoch=7, seq=2, advertise=(client(1, version=2),))


def test_a_large_update_is_cut_into_numbered_updates() -> None:
    actions = publisher().announce(clients(*range(2 * PART_PREFIXES + 200)), (), 0.1)
    assert [(m.seq, len(m.advertise)) for m in messages(actions) if isinstance(m, Update)] == [
        (1, PART_PREFIXES),
        (2, PART_PREFIXES),
        (3, 200),
    ]


def test_a_heartbeat_is_due_only_when_nothing_else_was_published() -> None:
    sender = publisher()
    sender.announce(clients(1), (), 0.9)
    assert sender.timer(1.0) == PeerActions()
    assert sender.deadline == pytest.approx(1.9)
    assert messages(sender.timer(1.9)) == [Heartbeat(node="A", epoch=7, seq=1, syncing=False)]
    assert sender.deadline == pytest.approx(2.9)


DRAINING = NodeInfo(state=NodeState.DRAINING, by="root", reason="kernel")


def infos(*actions: PeerActions) -> list[NodeInfo]:
    return [m.info for m in messages(*actions) if isinstance(m, Heartbeat)]


def test_a_changed_state_is_published_at_once_and_in_every_later_heartbeat() -> None:
    sender = publisher()
    assert infos(sender.set_info(DRAINING, 0.5)) == [DRAINING]
    assert sender.set_info(DRAINING, 0.6) == PeerActions()
    assert sender.deadline == pytest.approx(1.5)
    assert infos(sender.timer(1.5)) == [DRAINING]


def test_many_changes_of_state_are_a_heartbeat_each_100_ms_at_most() -> None:
    sender = publisher()
    published = []
    for number in range(100):
        now = 0.5 + number / 1000
        published += infos(sender.set_info(NodeInfo(reason=str(number)), now), sender.timer(now))
    assert [info.reason for info in published] == ["0"]
    assert sender.deadline == pytest.approx(0.6)
    assert [info.reason for info in infos(sender.timer(0.6))] == ["99"]


def test_a_changed_number_of_clients_waits_for_the_next_heartbeat() -> None:
    sender = publisher()
    assert sender.set_info(NodeInfo(clients=5), 0.5) == PeerActions()
    assert sender.deadline == pytest.approx(1.0)
    assert infos(sender.timer(1.0)) == [NodeInfo(clients=5)]


@pytest.mark.parametrize("info", [NodeInfo(clients=5), DRAINING])
def test_updates_without_end_do_not_postpone_it(info: NodeInfo) -> None:
    sender = publisher()
    published = []
    for number in range(20):
        now = 0.05 + number / 10
        sender.announce(clients(number), (), now)
        published += [(now, one) for one in infos(sender.set_info(info, now), sender.timer(now))]
    [(at, one)] = published  # and nothing else makes them publish a heartbeat
    assert one == info
    assert at <= 1.1


def test_who_subscribes_is_told_in_the_heartbeat_that_answers() -> None:
    sender = publisher()
    sender.set_info(DRAINING, 0.5)
    sender.receive(b"\x01u", "c", 0.7)
    assert infos(sender.timer(0.7)) == [DRAINING]


def test_nothing_of_it_is_published_after_the_goodbye() -> None:
    sender = publisher()
    sender.goodbye(restarting=True)
    assert sender.set_info(DRAINING, 0.5) == PeerActions()


def test_subscriptions_are_answered_by_a_heartbeat_at_most_every_100_ms() -> None:
    sender = publisher()
    sender.receive(b"\x01u", "b", 0.05)
    assert sender.timer(0.05) == PeerActions()
    assert sender.deadline == pytest.approx(0.1)
    sender.receive(b"\x01u", "c", 0.06)
    assert len(messages(sender.timer(0.1))) == 1
    assert sender.timer(0.11) == PeerActions()
    sender.receive(b"\x01u", "b", 0.5)
    assert len(messages(sender.timer(0.5))) == 1


def parts(*actions: PeerActions) -> list[SnapshotPart]:
    return [m for m in messages(*actions) if isinstance(m, SnapshotPart)]


def test_a_snapshot_has_everything_at_its_seq_on_its_topic_alone() -> None:
    sender, whole = publisher(), clients(*range(PART_PREFIXES + 1))
    sender.announce(whole, (), 0.1)
    sender.receive(b"\x01" + TOPIC, "b", 0.2)
    actions = sender.timer(0.2)
    assert set(topics(actions)) == {TOPIC}
    assert [(p.index, p.count, p.seq) for p in parts(actions)] == [(0, 2, 2), (1, 2, 2)]
    assert tuple(a for p in parts(actions) for a in p.advertisements) == whole


def test_a_large_snapshot_is_sent_in_slices_as_it_was_while_updates_go_out() -> None:
    sender, whole = publisher(), clients(*range(2 * PARTS_PER_SLICE * PART_PREFIXES + 1))
    sender.announce(whole, (), 0.1)
    sender.receive(b"\x01" + TOPIC, "b", 0.2)
    first = sender.timer(0.2)
    assert sender.deadline <= 0.2
    (update,) = messages(sender.announce((), [whole[-1].prefix], 0.2))
    rest = [sender.timer(0.2), sender.timer(0.2)]
    assert [len(parts(actions)) for actions in (first, *rest)] == [
        PARTS_PER_SLICE,
        PARTS_PER_SLICE,
        1,
    ]
    assert tuple(a for p in parts(first, *rest) for a in p.advertisements) == whole
    assert {p.seq for p in parts(first, *rest)} == {update.seq - 1}
    assert (sender.transfers, sender.deadline > 0.2) == (0, True)


def test_two_peers_receive_their_snapshots_slice_by_slice_in_turn() -> None:
    sender = publisher()
    sender.announce(clients(*range((PARTS_PER_SLICE + 1) * PART_PREFIXES)), (), 0.1)
    sender.receive(b"\x01" + TOPIC, "b", 0.2)
    sender.receive(b"\x01" + LATER, "c", 0.2)
    assert [topics(sender.timer(0.2))[0] for _ in range(4)] == [TOPIC, LATER, TOPIC, LATER]
    assert sender.transfers == 0


def test_a_snapshot_that_nobody_wants_any_more_is_not_finished() -> None:
    sender = publisher()
    sender.announce(clients(*range((PARTS_PER_SLICE + 1) * PART_PREFIXES)), (), 0.1)
    sender.receive(b"\x01" + TOPIC, "b", 0.2)
    sender.timer(0.2)
    sender.receive(b"\x00" + TOPIC, None, 0.2)
    assert sender.timer(0.2) == PeerActions()


def test_a_node_without_clients_sends_an_empty_snapshot() -> None:
    sender = publisher()
    sender.receive(b"\x01" + TOPIC, "b", 0.1)
    (part,) = messages(sender.timer(0.1))
    assert isinstance(part, SnapshotPart)
    assert (part.count, part.advertisements) == (1, ())


def test_a_peer_gets_one_snapshot_a_second_on_the_topic_it_requested_last() -> None:
    sender = publisher()
    for topic, peer in ((TOPIC, "b"), (TOPIC, "c")):
        sender.receive(b"\x01" + topic, peer, 0.1)
    assert topics(sender.timer(0.1), sender.timer(0.1)) == [TOPIC, TOPIC]
    sender.receive(b"\x01" + TOPIC, "b", 0.2)
    sender.receive(b"\x01" + LATER, "b", 0.3)
    assert sender.timer(0.3) == PeerActions()
    assert sender.deadline == 1.0  # the heartbeat
    sender.timer(1.0)
    assert sender.deadline == pytest.approx(1.1)
    assert topics(sender.timer(1.1)) == [LATER]


def test_a_request_that_was_withdrawn_is_not_answered() -> None:
    sender = publisher()
    sender.receive(b"\x01" + TOPIC, "b", 0.1)
    sender.timer(0.1)
    sender.receive(b"\x01" + TOPIC, "b", 0.2)
    sender.receive(b"\x00" + TOPIC, None, 0.3)
    sender.timer(1.0)
    assert sender.timer(1.5) == PeerActions()


def test_before_the_initial_sync_heartbeats_say_so_and_requests_wait() -> None:
    sender = publisher(synced=False)
    assert sender.announce(clients(1), (), 0.0) == PeerActions()
    sender.receive(b"\x01" + TOPIC, "b", 0.0)
    assert messages(sender.timer(0.0)) == [Heartbeat(node="A", epoch=7, seq=0, syncing=True)]
    assert sender.deadline == 1.0
    heartbeat, part = messages(sender.initial_sync_done(0.5))
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
    sender = publisher()
    sender.receive(frame, peer, 0.1)
    assert sender.ignored_frames == 1
    assert sender.timer(0.2) == PeerActions()


@pytest.mark.parametrize("restarting", [True, False])
def test_nothing_is_published_after_the_goodbye(restarting: bool) -> None:
    sender = publisher()
    sender.announce(clients(1), (), 0.1)
    last = messages(sender.goodbye(restarting=restarting))
    assert last == [Goodbye(node="A", epoch=7, seq=1, restarting=restarting)]
    sender.receive(b"\x01" + TOPIC, "b", 0.2)
    assert sender.announce(clients(2), (), 0.3) == sender.timer(9.0) == PeerActions()
    assert sender.goodbye(restarting=restarting) == PeerActions()
    assert sender.deadline == math.inf


def test_another_heartbeat_interval_applies_at_once() -> None:
    sender = publisher()
    sender.reconfigure(0.1, 0.2)
    assert sender.deadline == pytest.approx(0.3)
    sender.timer(sender.deadline)
    assert sender.deadline == pytest.approx(0.4)


# -- snapshots that do not arrive --


def lost_connections(sender: Publisher, count: int, topic: bytes = TOPIC) -> float:
    """Peer b requests a snapshot on *count* connections; ZeroMQ repeats it on each. The time."""
    now = 0.0
    for _ in range(count):
        now += 4.0
        sender.receive(b"\x01" + topic, "b", now)
        assert topic in topics(sender.timer(now))
    return now


def test_connections_that_end_before_the_peer_has_the_snapshot_are_counted() -> None:
    sender = publisher()
    now = lost_connections(sender, 2)
    assert sender.unreceived("b", now) == 0  # one was lost: that happens
    sender.receive(b"\x01" + TOPIC, "b", now + 4.0)
    assert sender.unreceived("b", now + 4.0) == 2
    assert sender.unreceived("c", now + 4.0) == 0


def test_a_new_request_of_the_same_peer_does_not_end_the_count() -> None:
    sender = publisher()
    now = lost_connections(sender, 3)
    sender.receive(b"\x01" + LATER, "b", now)
    sender.receive(b"\x00" + TOPIC, "b", now)
    assert sender.unreceived("b", now) == 2


@pytest.mark.parametrize(("sent_by", "left"), [("b", 0), (None, 2)])
def test_the_peers_own_unsubscription_ends_the_count_and_a_closed_connection_does_not(
    sent_by: str | None, left: int
) -> None:
    sender = publisher()
    now = lost_connections(sender, 3)
    sender.receive(b"\x00" + TOPIC, sent_by, now)
    assert sender.unreceived("b", now) == left


def test_lost_snapshots_are_forgotten_when_no_more_are_lost() -> None:
    sender = publisher()
    now = lost_connections(sender, 3)
    assert sender.unreceived("b", now + UNRECEIVED_TIME - 1) == 2
    assert sender.unreceived("b", now + UNRECEIVED_TIME) == 0


def test_a_snapshot_that_was_not_sent_yet_is_not_lost() -> None:
    sender = publisher(synced=False)
    for now in range(5):
        sender.receive(b"\x01" + TOPIC, "b", float(now))
        sender.timer(float(now))
    assert sender.unreceived("b", 5.0) == 0
