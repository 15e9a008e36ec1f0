"""The session as a story: what is heard, when, and what follows."""

from __future__ import annotations

import math

import pytest

from cuberouted.model import Advertisement
from cuberouted.peering.events import (
    PeerLimits,
    PeerLost,
    PeerState,
    RoutesChanged,
    RoutesReplaced,
    SessionActions,
    StateChange,
)
from cuberouted.peering.messages import (
    Goodbye,
    Heartbeat,
    IncompatibleVersionError,
    SnapshotPart,
    Update,
    snapshot_topic,
)
from cuberouted.peering.session import NEXT, PeerEvent, PeerSession
from tests.unit.peering.samples import LIMITS, client, clients, session

DOWN, SYNCING, UP, RESTARTING, INCOMPATIBLE = PeerState
U = b"u"


def topic(number: int) -> bytes:
    """The topic of the session's question *number*, from 1."""
    return snapshot_topic(number.to_bytes(8))


def update(seq: int, *advertise: Advertisement, epoch: int = 1, node: str = "B") -> Update:
    return Update(node=node, epoch=epoch, seq=seq, advertise=advertise)


def heartbeat(seq: int, *, epoch: int = 1, syncing: bool = False, node: str = "B") -> Heartbeat:
    return Heartbeat(node=node, epoch=epoch, seq=seq, syncing=syncing)


def goodbye(*, restarting: bool) -> Goodbye:
    return Goodbye(node="B", epoch=1, seq=1, restarting=restarting)


def part(
    seq: int, *held: Advertisement, index: int = 0, count: int = 1, epoch: int = 1
) -> SnapshotPart:
    return SnapshotPart(
        node="B", epoch=epoch, seq=seq, index=index, count=count, advertisements=held
    )


def up(*numbers: int, terms: PeerLimits = LIMITS) -> PeerSession:
    """A session that is up at time 0, at (epoch 1, seq 1), with these clients."""
    made = session(terms=terms)
    made.receive(U, heartbeat(1), 0.0)
    made.receive(topic(1), part(1, *clients(*numbers)), 0.0)
    assert made.state is UP
    return made


def shown(made: PeerSession) -> tuple[PeerState, int]:
    return made.state, made.status().advertisements


# From the first word to up.


def test_the_first_heartbeat_makes_it_ask_and_the_snapshot_makes_it_up() -> None:
    made = session()
    first = made.receive(U, heartbeat(4), 1.0)
    assert first == SessionActions(
        StateChange("b", DOWN, SYNCING, "waiting for its snapshot"), subscribe=(topic(1),)
    )
    whole = made.receive(topic(1), part(4, *clients(1, 2)), 1.1)
    assert whole == SessionActions(
        StateChange("b", SYNCING, UP, "complete, advertisements: 2"),
        unsubscribe=(topic(1),),
        news=(RoutesReplaced("b", "B", clients(1, 2)),),
    )
    assert made.receive(U, heartbeat(4), 1.2) == SessionActions()


def test_updates_in_order_are_told_and_nothing_is_asked() -> None:
    made = up(1)
    change = Update(node="B", epoch=1, seq=2, advertise=clients(2), withdraw=(client(1).prefix,))
    news = RoutesChanged("b", "B", clients(2), (client(1).prefix,))
    assert made.receive(U, change, 1.0) == SessionActions(news=(news,))
    assert shown(made) == (UP, 1)


def test_a_snapshot_takes_effect_only_when_complete() -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    held = [part(1, *clients(i), index=i, count=3) for i in range(3)]
    assert made.receive(topic(1), held[0], 0.1) == SessionActions()
    assert made.receive(topic(1), held[1], 0.2) == SessionActions()
    assert made.receive(topic(1), held[2], 0.3).news == (
        RoutesReplaced("b", "B", clients(0, 1, 2)),
    )


@pytest.mark.parametrize(
    "parts",
    [
        [part(1, *clients(1), index=1, count=2)],
        [part(1, *clients(0), index=0, count=3), part(1, *clients(2), index=2, count=3)],
        [part(1, *clients(0), index=0, count=2), part(2, *clients(1), index=1, count=2)],
        [part(1, *clients(0), index=0, count=2), part(1, *clients(1), index=1, count=3)],
        [part(1, index=0, count=2), part(1, index=1, count=2)],
    ],
    ids=["first lost", "middle lost", "two seqs", "two counts", "empty parts"],
)
def test_parts_that_do_not_fit_together_are_no_snapshot(parts: list[SnapshotPart]) -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    for each in parts:
        assert made.receive(topic(1), each, 0.1).news == ()
    whole = part(3, *clients(7))
    assert made.receive(topic(1), whole, 0.2).news == (RoutesReplaced("b", "B", clients(7)),)


def test_an_answer_to_another_question_is_not_taken() -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    assert made.receive(topic(9), part(1, *clients(1)), 0.1).news == ()
    assert made.state is SYNCING


def test_updates_before_the_first_snapshot_are_not_told() -> None:
    made = session()
    assert made.receive(U, update(5, client(1)), 0.0).news == ()
    made.receive(topic(1), part(6, *clients(2)), 0.1)
    assert shown(made) == (UP, 1)


# Gaps.


def test_a_gap_applies_the_update_keeps_the_routes_and_asks_once() -> None:
    made = up(1)
    gap = made.receive(U, update(4, client(4)), 1.0)
    assert gap == SessionActions(
        StateChange("b", UP, SYNCING, "its updates 2 to 3 were lost"),
        subscribe=(topic(2),),
        news=(RoutesChanged("b", "B", clients(4), ()),),
    )
    more = made.receive(U, update(5, client(5)), 1.1)
    assert more == SessionActions(news=(RoutesChanged("b", "B", clients(5), ()),))
    assert made.receive(topic(2), part(5, *clients(1, 2, 3, 4, 5)), 1.2).moved is not None
    assert made.receive(U, update(6, client(6)), 1.3).subscribe == ()


def test_a_heartbeat_reveals_that_the_last_update_was_lost() -> None:
    outcome = up(1).receive(U, heartbeat(2), 1.0)
    assert (outcome.subscribe, outcome.news) == ((topic(2),), ())


def test_an_update_of_the_past_is_ignored() -> None:
    made = up(1)
    made.receive(U, update(2, client(1, version=5)), 0.1)
    assert made.receive(U, update(1, client(1, version=1)), 0.2) == SessionActions()
    assert made.receive(U, update(2, client(1, version=1)), 0.2) == SessionActions()


# Restarts.


def test_a_new_epoch_keeps_the_old_routes_until_its_snapshot() -> None:
    made = up(1)
    outcome = made.receive(U, heartbeat(0, epoch=2), 1.0)
    assert (outcome.news, outcome.subscribe) == ((), (topic(2),))
    assert made.receive(U, update(1, client(8), epoch=2), 1.1).news == ()
    assert shown(made) == (SYNCING, 1)
    whole = made.receive(topic(2), part(1, *clients(8), epoch=2), 1.2)
    assert whole.news == (RoutesReplaced("b", "B", clients(8)),)


def test_a_snapshot_asked_of_the_old_epoch_and_answered_by_the_new_is_taken() -> None:
    made = up(1)
    made.receive(U, heartbeat(3), 1.0)
    outcome = made.receive(topic(2), part(0, *clients(8), epoch=2), 1.1)
    assert outcome.news == (RoutesReplaced("b", "B", clients(8)),)


def test_a_syncing_peer_is_not_asked_until_it_has_synced() -> None:
    made = up(1)
    first = made.receive(U, heartbeat(0, epoch=2, syncing=True), 1.0)
    assert (first.subscribe, first.news, shown(made)) == ((), (), (SYNCING, 1))
    assert "does not know all its clients" in made.status().detail
    assert made.receive(U, heartbeat(0, epoch=2), 2.0).subscribe == (topic(2),)


def test_a_question_to_a_peer_that_turns_out_to_be_syncing_is_withdrawn() -> None:
    made = up(1)
    made.receive(U, heartbeat(3), 1.0)
    outcome = made.receive(U, heartbeat(0, epoch=2, syncing=True), 1.1)
    assert outcome.unsubscribe == (topic(2),)


def test_old_routes_outlive_restarts_for_restart_time_in_all() -> None:
    made = up(1)
    now, told = 1.0, []
    while now < 40:
        made.receive(U, heartbeat(0, epoch=2 + int(now) // 10, syncing=True), now)
        if made.deadline <= now:
            told += [(now, news) for news in made.timer(now).news]
        now += 1
    assert told == [(31.0, PeerLost("b", "no snapshot since its restart 30 s ago"))]
    assert shown(made) == (SYNCING, 0)


def test_an_announced_restart_keeps_the_routes_for_restart_time() -> None:
    made = up(1)
    outcome = made.receive(U, goodbye(restarting=True), 1.0)
    assert (made.state, outcome.news) == (RESTARTING, ())
    assert made.deadline == 31.0
    assert made.timer(30.9) == SessionActions()
    lost = made.timer(31.0)
    assert lost.news == (PeerLost("b", "it did not come back within 30 s"),)
    assert made.state is DOWN


def test_a_peer_back_from_its_restart_is_taken_up_again() -> None:
    made = up(1)
    made.receive(U, goodbye(restarting=True), 1.0)
    assert made.receive(U, heartbeat(0, epoch=2, syncing=True), 20.0).moved == StateChange(
        "b", RESTARTING, SYNCING, "it does not know all its clients yet"
    )
    assert made.deadline == 23.0
    made.receive(U, heartbeat(0, epoch=2), 21.0)
    assert made.receive(topic(2), part(0, *clients(1), epoch=2), 21.1).news != ()


def test_a_peer_that_stays_after_all_is_up_again() -> None:
    made = up(1)
    made.receive(U, goodbye(restarting=True), 1.0)
    assert made.receive(U, heartbeat(1), 1.1).moved == StateChange(
        "b", RESTARTING, UP, "complete, advertisements: 1"
    )


def test_a_goodbye_withdraws_at_once() -> None:
    made = up(1)
    made.receive(U, heartbeat(3), 0.5)
    outcome = made.receive(U, goodbye(restarting=False), 1.0)
    assert outcome == SessionActions(
        StateChange("b", SYNCING, DOWN, "it said goodbye"),
        unsubscribe=(topic(2),),
        news=(PeerLost("b", "it said goodbye"),),
    )
    assert made.deadline == math.inf


# Silence.


def test_a_peer_not_heard_for_hold_time_is_lost_and_down() -> None:
    made = up(1)
    made.receive(U, heartbeat(1), 2.0)
    assert made.deadline == 5.0
    assert made.timer(4.9) == SessionActions()
    assert made.timer(5.0) == SessionActions(
        StateChange("b", UP, DOWN, "not heard for 3 s"), news=(PeerLost("b", "not heard for 3 s"),)
    )
    assert (shown(made), made.deadline) == ((DOWN, 0), math.inf)


def test_a_peer_never_heard_is_lost_once_hold_time_after_our_start() -> None:
    made = session()
    assert made.deadline == 3.0
    assert made.timer(3.0) == SessionActions(news=(PeerLost("b", "not heard for 3 s"),))
    assert made.deadline == math.inf


def test_a_peer_that_syncs_at_our_start_has_restart_time_for_its_adopted_routes() -> None:
    made = session()
    for now in range(1, 31):
        made.receive(U, heartbeat(0, syncing=True), now)
        assert made.timer(now) == SessionActions()
    made.receive(U, heartbeat(0, syncing=True), 31)
    assert made.timer(31).news == (PeerLost("b", "no snapshot since its restart 30 s ago"),)


def test_after_our_own_stall_a_peer_has_hold_time_to_be_heard() -> None:
    made = up(1)
    made.clock_stalled(60.0)
    assert made.timer(60.0) == SessionActions()
    assert made.deadline == 63.0
    assert made.timer(63.0).news == (PeerLost("b", "not heard for 3 s"),)


def test_a_lost_connection_is_shown_and_leaves_hold_time() -> None:
    made = up(1)
    made.disconnected("no connection")
    assert (made.state, made.status().detail) == (UP, "no connection")
    made.connected()
    assert made.status().detail == ""


def test_every_part_counts_as_heard() -> None:
    made = up(1)
    made.receive(U, heartbeat(9), 1.0)
    for index in range(10):
        made.receive(topic(2), part(9, client(index), index=index, count=20), 1.0 + 2 * index)
    assert made.deadline == 19.0 + 3.0


def test_without_progress_it_asks_anew_and_backs_off() -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    asked, now = [0.0], 0.0
    while now < 100:
        now += 0.5
        made.receive(U, heartbeat(1), now)
        outcome = made.timer(now)
        if outcome.subscribe:
            asked.append(now)
            assert outcome.unsubscribe == (topic(len(asked) - 1),)
            assert outcome.subscribe == (topic(len(asked)),)
    assert asked == [0.0, 3.0, 9.0, 21.0, 45.0, 75.0]


# Who it is.


@pytest.mark.parametrize(
    ("configured", "announced", "words"),
    [
        ("B", "C", "announces 'C', but is configured as 'B'"),
        (None, "A", "announces our own name, 'A'"),
        ("A", "A", "announces our own name, 'A'"),
        (None, "taken", "announces 'taken', as another peer already does"),
    ],
)
def test_a_wrong_name_is_refused_and_shown(
    configured: str | None, announced: str, words: str
) -> None:
    made = session(configured, taken=lambda name: name == "taken")
    first = made.receive(U, heartbeat(1, node=announced), 1.0)
    assert first == SessionActions(
        StateChange("b", DOWN, DOWN, words), news=(PeerLost("b", words),)
    )
    assert made.receive(U, update(1, client(1), node=announced), 1.1) == SessionActions()
    status = made.status()
    assert (status.state, status.detail, status.refused) == (DOWN, words, 2)
    assert (status.configured, status.node) == (configured, announced)
    assert status.advertisements == 0


def test_a_peer_that_changes_to_a_wrong_name_is_lost() -> None:
    made = up(1)
    outcome = made.receive(U, heartbeat(0, epoch=2, node="C"), 1.0)
    assert outcome.moved == StateChange("b", UP, DOWN, "announces 'C', but is configured as 'B'")
    assert outcome.news == (PeerLost("b", "announces 'C', but is configured as 'B'"),)
    assert made.receive(U, heartbeat(1), 2.0).subscribe == (topic(2),)


def test_without_a_configured_name_the_announced_one_is_taken() -> None:
    made = session(None)
    made.receive(U, heartbeat(1, node="somebody"), 0.0)
    assert (made.state, made.node) == (SYNCING, "somebody")


def test_another_version_is_incompatible_loses_the_routes_and_can_come_back() -> None:
    made = up(1)
    error = IncompatibleVersionError(2, "B")
    outcome = made.incompatible(error, 1.0)
    words = "speaks protocol version 2, we speak 1"
    assert outcome == SessionActions(
        StateChange("b", UP, INCOMPATIBLE, words), news=(PeerLost("b", words),)
    )
    assert made.incompatible(error, 2.0) == SessionActions()
    assert (made.state, made.status().detail) == (INCOMPATIBLE, words)
    assert made.receive(U, heartbeat(1), 2.5).subscribe == (topic(2),)
    made.incompatible(error, 3.0)
    assert made.timer(6.0).moved == StateChange("b", INCOMPATIBLE, DOWN, "not heard for 3 s")


# Limits, and what cannot be read.


def test_an_update_over_the_limit_is_lost_counted_and_asked_for() -> None:
    made = up(1, 2, terms=PeerLimits(3, 30, 2))
    outcome = made.receive(U, update(2, client(3)), 1.0)
    assert (outcome.news, outcome.subscribe) == ((), (topic(2),))
    assert "over limit" in made.status().detail
    assert made.status().refused == 1
    assert shown(made) == (SYNCING, 2)
    swap = Update(node="B", epoch=1, seq=3, advertise=clients(3), withdraw=(client(1).prefix,))
    assert made.receive(U, swap, 1.1).news != ()


def test_a_snapshot_over_the_limit_is_lost_and_the_old_routes_stay() -> None:
    made = up(1, 2, terms=PeerLimits(3, 30, 2))
    made.receive(U, heartbeat(2), 1.0)
    for index in range(3):
        outcome = made.receive(topic(2), part(2, client(index), index=index, count=3), 1.1)
        assert outcome.news == ()
    assert "over limit" in made.status().detail
    assert shown(made) == (SYNCING, 2)
    made.receive(U, heartbeat(2), 2.0)
    assert made.timer(made.deadline).subscribe == (topic(3),)


def test_a_lower_limit_lets_go_but_takes_no_more() -> None:
    made = up(1, 2)
    made.reconfigure(PeerLimits(3, 30, 1))
    away = Update(node="B", epoch=1, seq=2, withdraw=(client(1).prefix,))
    assert made.receive(U, away, 1.0).news != ()
    assert made.receive(U, update(3, client(3)), 1.0).news == ()


def test_other_terms_hold_at_once() -> None:
    made = up(1)
    made.reconfigure(PeerLimits(0.3, 30, 1000))
    assert made.deadline == pytest.approx(0.3)


def test_malformed_messages_are_counted_and_do_not_count_as_heard() -> None:
    made = session()
    made.malformed("no message")
    assert made.status().refused == 1
    assert "no message" in made.status().detail
    assert made.deadline == 3.0
    assert made.status().last_heard is None


def test_the_status_counts_clients_apart() -> None:
    made = up(1, 2)
    status = made.status()
    assert (status.advertisements, status.clients, status.last_heard) == (2, 2, 0.0)


def test_a_peer_without_a_table_is_never_up() -> None:
    assert set(NEXT) == {(s, sign) for s in PeerState for sign in PeerEvent} - {
        (DOWN, PeerEvent.CURRENT),
        (INCOMPATIBLE, PeerEvent.CURRENT),
    }
