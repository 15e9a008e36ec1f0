"""The session with a peer: messages and times in, actions out."""

from __future__ import annotations

import math

import pytest

from cuberouted.model import Advertisement, Kind, NodeInfo, NodeState, Prefix
from cuberouted.peering.events import (
    DropReason,
    InfoChange,
    PeerActions,
    PeerLimits,
    PeerLost,
    PeerState,
    RoutesChanged,
    RoutesReplaced,
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
from tests.unit.peering.samples import LIMITS, client, clients, nonces, session

DOWN, SYNCING, UP, RESTARTING, INCOMPATIBLE = PeerState
U = b"u"


def topic(number: int) -> bytes:
    """The topic of the session's request *number*, from 1."""
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


def up(*numbers: int, limits: PeerLimits = LIMITS) -> PeerSession:
    """A session that is up at time 0, at (epoch 1, seq 1), with these clients."""
    made = session(limits=limits)
    made.receive(U, heartbeat(1), 0.0)
    made.receive(topic(1), part(1, *clients(*numbers)), 0.0)
    assert made.state is UP
    return made


def shown(made: PeerSession) -> tuple[PeerState, int]:
    return made.state, made.status().advertisements


def timers(made: PeerSession, until: float) -> list[PeerActions]:
    """Runs the session's timers that are due up to *until*."""
    actions = []
    while made.deadline <= until:
        actions.append(made.timer(made.deadline))
    return actions


# -- a way that carries no large message --


def with_lost_snapshots(count: int) -> tuple[PeerSession, list[StateChange]]:
    """A session after *count* connections of one heartbeat each, and its changes of state."""
    made = PeerSession("b", "B", "A", LIMITS, 0.0, nonces(), interface="tun1")
    actions = []
    for number in range(count):
        actions += [made.receive(U, heartbeat(7), 4.0 * number)]
        actions += timers(made, 4.0 * number + 3.5)
    return made, [a.state_change for a in actions if a.state_change is not None]


def test_heartbeats_without_larger_messages_are_told_once_and_the_peer_stays_down() -> None:
    text = "heartbeats come, larger messages do not: is the MTU of tun1 right?"
    made, changes = with_lost_snapshots(10)
    assert [(c.old, c.new) for c in changes] == [(DOWN, SYNCING), (SYNCING, DOWN)] * 2
    assert changes[1].why == "nothing received for 3 s"
    assert changes[3].why == text
    assert (made.state, made.status().detail) == (DOWN, text)


def test_a_first_lost_snapshot_is_no_proof() -> None:
    made, _ = with_lost_snapshots(1)
    assert made.status().detail == "nothing received for 3 s"


def test_the_peer_is_up_with_the_first_whole_snapshot() -> None:
    made, _ = with_lost_snapshots(3)
    again = made.receive(U, heartbeat(7), 12.0)
    assert again.subscribe == ()  # the request stands, and ZeroMQ repeats it
    whole = made.receive(topic(4), part(7, *clients(1)), 12.1)
    assert whole.state_change == StateChange("b", DOWN, UP, "snapshot complete, prefixes: 1")
    assert made.status().detail == ""


def test_a_part_of_a_snapshot_disproves_it() -> None:
    made, _ = with_lost_snapshots(3)
    made.receive(topic(4), part(7, *clients(1), count=2), 12.0)
    assert (made.state, made.status().detail) == (SYNCING, "waiting for its snapshot")


def test_a_peer_that_then_says_nothing_at_all_is_told_as_such() -> None:
    made, _ = with_lost_snapshots(3)
    assert not any(a.state_change for a in timers(made, 100.0))
    assert made.status().detail == "nothing received for 9 s"
    assert made.deadline == math.inf


@pytest.mark.parametrize(
    "message", [goodbye(restarting=False), goodbye(restarting=True), heartbeat(7, syncing=True)]
)
def test_it_is_forgotten_when_the_peer_ends_restarts_or_lists_its_clients(
    message: Heartbeat | Goodbye,
) -> None:
    made, _ = with_lost_snapshots(3)
    made.receive(U, message, 12.0)
    assert "MTU" not in made.status().detail


def test_requests_that_bring_nothing_while_heartbeats_come_are_counted() -> None:
    made = session()
    for second in range(30):
        made.receive(U, heartbeat(7), float(second))
        timers(made, second + 0.5)
    assert made.state is SYNCING
    text = "waiting for its snapshot; 3 requests for its snapshot brought none"
    assert made.status().detail == text


# -- from the first message to up --


def test_the_first_heartbeat_starts_a_request_and_the_snapshot_makes_the_peer_up() -> None:
    made = session()
    first = made.receive(U, heartbeat(4), 1.0)
    assert first == PeerActions(
        StateChange("b", DOWN, SYNCING, "waiting for its snapshot"),
        subscribe=(topic(1),),
        info=InfoChange(None, NodeInfo()),
    )
    whole = made.receive(topic(1), part(4, *clients(1, 2)), 1.1)
    assert whole == PeerActions(
        StateChange("b", SYNCING, UP, "snapshot complete, prefixes: 2"),
        unsubscribe=(topic(1),),
        updates=(RoutesReplaced("b", "B", clients(1, 2)),),
    )
    assert made.receive(U, heartbeat(4), 1.2) == PeerActions()


def test_updates_in_order_are_returned_and_nothing_is_requested() -> None:
    made = up(1)
    change = Update(node="B", epoch=1, seq=2, advertise=clients(2), withdraw=(client(1).prefix,))
    changed = RoutesChanged("b", "B", clients(2), (client(1).prefix,))
    assert made.receive(U, change, 1.0) == PeerActions(updates=(changed,))
    assert shown(made) == (UP, 1)


def test_a_snapshot_takes_effect_only_when_complete() -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    held = [part(1, *clients(i), index=i, count=3) for i in range(3)]
    assert made.receive(topic(1), held[0], 0.1) == PeerActions()
    assert made.receive(topic(1), held[1], 0.2) == PeerActions()
    assert made.receive(topic(1), held[2], 0.3).updates == (
        RoutesReplaced("b", "B", clients(0, 1, 2)),
    )


@pytest.mark.parametrize(
    "parts",
    [
        [part(1, *clients(1), index=1, count=2)],
        [part(1, *clients(0), index=0, count=3), part(1, *clients(2), index=2, count=3)],
        [part(1, *clients(0), index=0, count=2), part(2, *clients(1), index=1, count=2)],
        [part(1, *clients(0), index=0, count=2), part(1, *clients(1), index=1, count=3)],
    ],
    ids=["first lost", "middle lost", "two seqs", "two counts"],
)
def test_parts_of_different_snapshots_are_discarded(parts: list[SnapshotPart]) -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    for each in parts:
        assert made.receive(topic(1), each, 0.1).updates == ()
    whole = part(3, *clients(7))
    assert made.receive(topic(1), whole, 0.2).updates == (RoutesReplaced("b", "B", clients(7)),)


def test_a_snapshot_on_another_topic_is_ignored() -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    assert made.receive(topic(9), part(1, *clients(1)), 0.1).updates == ()
    assert made.state is SYNCING


def test_updates_before_the_first_snapshot_are_not_returned() -> None:
    made = session()
    assert made.receive(U, update(5, client(1)), 0.0).updates == ()
    made.receive(topic(1), part(6, *clients(2)), 0.1)
    assert shown(made) == (UP, 1)


# -- gaps --


def test_after_a_gap_the_update_is_applied_and_one_snapshot_requested() -> None:
    made = up(1)
    gap = made.receive(U, update(4, client(4)), 1.0)
    assert gap == PeerActions(
        StateChange("b", UP, SYNCING, "updates 2 to 3 were lost"),
        subscribe=(topic(2),),
        updates=(RoutesChanged("b", "B", clients(4), ()),),
    )
    more = made.receive(U, update(5, client(5)), 1.1)
    assert more == PeerActions(updates=(RoutesChanged("b", "B", clients(5), ()),))
    assert made.receive(topic(2), part(5, *clients(1, 2, 3, 4, 5)), 1.2).state_change is not None
    assert made.receive(U, update(6, client(6)), 1.3).subscribe == ()


def test_a_heartbeat_shows_that_the_last_update_was_lost() -> None:
    actions = up(1).receive(U, heartbeat(2), 1.0)
    assert (actions.subscribe, actions.updates) == ((topic(2),), ())


def test_an_old_update_is_ignored() -> None:
    made = up(1)
    made.receive(U, update(2, client(1, version=5)), 0.1)
    assert made.receive(U, update(1, client(1, version=1)), 0.2) == PeerActions()
    assert made.receive(U, update(2, client(1, version=1)), 0.2) == PeerActions()


def test_updates_between_the_parts_of_a_snapshot_are_part_of_the_result() -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    made.receive(topic(1), part(1, *clients(0, 1), index=0, count=2), 0.1)
    change = Update(
        node="B",
        epoch=1,
        seq=2,
        advertise=(client(3, version=9), client(4)),
        withdraw=(client(0).prefix, client(2).prefix),
    )
    assert made.receive(U, change, 0.1) == PeerActions()
    actions = made.receive(topic(1), part(1, *clients(2, 3), index=1, count=2), 0.2)
    (replaced,) = actions.updates
    assert isinstance(replaced, RoutesReplaced)
    assert set(replaced.advertisements) == {client(1), client(3, version=9), client(4)}
    assert made.receive(U, heartbeat(2), 0.3) == PeerActions()
    assert made.receive(U, update(3, client(5)), 0.4).updates != ()
    assert shown(made) == (UP, 4)


def test_updates_between_the_parts_reach_the_old_table_too() -> None:
    made = up(1)
    made.receive(U, heartbeat(2), 1.0)
    made.receive(topic(2), part(2, *clients(1), index=0, count=2), 1.1)
    assert made.receive(U, update(3, client(3)), 1.2).updates != ()
    made.receive(topic(2), part(2, *clients(2), index=1, count=2), 1.3)
    assert made.receive(U, update(4, client(4)), 1.4) == PeerActions(
        updates=(RoutesChanged("b", "B", clients(4), ()),)
    )
    assert shown(made) == (UP, 4)


def test_a_snapshot_is_requested_anew_if_updates_are_lost_between_its_parts() -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    made.receive(topic(1), part(1, *clients(1), index=0, count=2), 0.1)
    made.receive(U, update(3, client(3)), 0.1)
    assert made.receive(topic(1), part(1, *clients(2), index=1, count=2), 0.2) == PeerActions()
    assert made.timer(made.deadline).subscribe == (topic(2),)


@pytest.mark.parametrize("withdraw", [True, False])
def test_updates_between_the_parts_cannot_exceed_the_limit(withdraw: bool) -> None:
    made = session(limits=PeerLimits(3, 30, 2))
    made.receive(U, heartbeat(1), 0.0)
    made.receive(topic(1), part(1, *clients(0), index=0, count=2), 0.1)
    for seq in range(2, 20):
        changes = clients(seq)
        prefixes = tuple(a.prefix for a in changes)
        made.receive(
            U,
            Update(node="B", epoch=1, seq=seq, withdraw=prefixes)
            if withdraw
            else Update(node="B", epoch=1, seq=seq, advertise=changes),
            0.1,
        )
    assert made.receive(topic(1), part(1, *clients(1), index=1, count=2), 0.2).updates == ()
    assert shown(made) == (SYNCING, 0)


# -- restarts --


def test_a_new_epoch_keeps_the_old_routes_until_its_snapshot() -> None:
    made = up(1)
    actions = made.receive(U, heartbeat(0, epoch=2), 1.0)
    assert (actions.updates, actions.subscribe) == ((), (topic(2),))
    assert made.receive(U, update(1, client(8), epoch=2), 1.1).updates == ()
    assert shown(made) == (SYNCING, 1)
    whole = made.receive(topic(2), part(1, *clients(8), epoch=2), 1.2)
    assert whole.updates == (RoutesReplaced("b", "B", clients(8)),)


def test_a_snapshot_requested_in_the_old_epoch_and_sent_in_the_new_is_used() -> None:
    made = up(1)
    made.receive(U, heartbeat(3), 1.0)
    actions = made.receive(topic(2), part(0, *clients(8), epoch=2), 1.1)
    assert actions.updates == (RoutesReplaced("b", "B", clients(8)),)


def test_no_snapshot_is_requested_while_the_peer_is_syncing() -> None:
    made = up(1)
    first = made.receive(U, heartbeat(0, epoch=2, syncing=True), 1.0)
    assert (first.subscribe, first.updates, shown(made)) == ((), (), (SYNCING, 1))
    assert "has not listed all its clients" in made.status().detail
    assert made.receive(U, heartbeat(0, epoch=2), 2.0).subscribe == (topic(2),)


def test_a_request_ends_when_the_peer_turns_out_to_be_syncing() -> None:
    made = up(1)
    made.receive(U, heartbeat(3), 1.0)
    actions = made.receive(U, heartbeat(0, epoch=2, syncing=True), 1.1)
    assert actions.unsubscribe == (topic(2),)


def test_repeated_restarts_do_not_extend_the_stale_route_timer() -> None:
    made = up(1)
    now, lost = 1.0, []
    while now < 40:
        made.receive(U, heartbeat(0, epoch=2 + int(now) // 10, syncing=True), now)
        if made.deadline <= now:
            lost += [(now, update) for update in made.timer(now).updates]
        now += 1
    assert lost == [(31.0, PeerLost("b", "no snapshot since its restart 30 s ago"))]
    assert shown(made) == (SYNCING, 0)


def test_an_announced_restart_keeps_the_routes_for_restart_time() -> None:
    made = up(1)
    actions = made.receive(U, goodbye(restarting=True), 1.0)
    assert (made.state, actions.updates) == (RESTARTING, ())
    assert made.deadline == 31.0
    assert made.timer(30.9) == PeerActions()
    lost = made.timer(31.0)
    assert lost.updates == (PeerLost("b", "it did not come back within 30 s"),)
    assert made.state is DOWN


def test_a_peer_back_from_its_restart_is_synchronized() -> None:
    made = up(1)
    made.receive(U, goodbye(restarting=True), 1.0)
    assert made.receive(U, heartbeat(0, epoch=2, syncing=True), 20.0).state_change == StateChange(
        "b", RESTARTING, SYNCING, "it has not listed all its clients yet"
    )
    assert made.deadline == 23.0
    made.receive(U, heartbeat(0, epoch=2), 21.0)
    assert made.receive(topic(2), part(0, *clients(1), epoch=2), 21.1).updates != ()


def test_a_peer_that_does_not_restart_after_all_is_up_again() -> None:
    made = up(1)
    made.receive(U, goodbye(restarting=True), 1.0)
    assert made.receive(U, heartbeat(1), 1.1).state_change == StateChange(
        "b", RESTARTING, UP, "snapshot complete, prefixes: 1"
    )


def test_a_goodbye_withdraws_at_once() -> None:
    made = up(1)
    made.receive(U, heartbeat(3), 0.5)
    actions = made.receive(U, goodbye(restarting=False), 1.0)
    assert actions == PeerActions(
        StateChange("b", SYNCING, DOWN, "it shut down"),
        unsubscribe=(topic(2),),
        updates=(PeerLost("b", "it shut down"),),
    )
    assert made.deadline == math.inf


def test_a_peer_has_shut_down_from_its_goodbye_to_its_next_message() -> None:
    made, seen = up(1), []
    for message in (goodbye(restarting=True), goodbye(restarting=False), heartbeat(1)):
        made.receive(U, message, 1.0)
        seen.append(made.has_shut_down)
    assert seen == [False, True, False]


# -- timers --


def test_a_peer_is_lost_and_down_when_its_hold_timer_expires() -> None:
    made = up(1)
    made.receive(U, heartbeat(1), 2.0)
    assert made.deadline == 5.0
    assert made.timer(4.9) == PeerActions()
    assert made.timer(5.0) == PeerActions(
        StateChange("b", UP, DOWN, "nothing received for 3 s"),
        updates=(PeerLost("b", "nothing received for 3 s"),),
    )
    assert (shown(made), made.deadline) == ((DOWN, 0), math.inf)


def test_a_peer_that_never_sends_is_lost_once_hold_time_after_our_start() -> None:
    made = session()
    assert made.deadline == 3.0
    assert made.timer(3.0) == PeerActions(updates=(PeerLost("b", "nothing received for 3 s"),))
    assert made.deadline == math.inf


def test_adopted_routes_of_a_peer_that_syncs_at_our_start_are_kept_for_restart_time() -> None:
    made = session()
    for now in range(1, 31):
        made.receive(U, heartbeat(0, syncing=True), now)
        assert made.timer(now) == PeerActions()
    made.receive(U, heartbeat(0, syncing=True), 31)
    assert made.timer(31).updates == (PeerLost("b", "no snapshot since its restart 30 s ago"),)


def test_after_our_own_stall_the_hold_timer_restarts() -> None:
    made = up(1)
    made.clock_stalled(60.0)
    assert made.timer(60.0) == PeerActions()
    assert made.deadline == 63.0
    assert made.timer(63.0).updates == (PeerLost("b", "nothing received for 3 s"),)


def test_a_lost_connection_is_shown_and_the_hold_timer_goes_on() -> None:
    made = up(1)
    made.disconnected("no connection")
    assert (made.state, made.status().detail) == (UP, "no connection")
    made.connected()
    assert made.status().detail == ""


def test_every_part_restarts_the_hold_timer() -> None:
    made = up(1)
    made.receive(U, heartbeat(9), 1.0)
    for index in range(10):
        made.receive(topic(2), part(9, client(index), index=index, count=20), 1.0 + 2 * index)
    assert made.deadline == 19.0 + 3.0


def test_without_progress_the_request_is_repeated_with_back_off() -> None:
    made = session()
    made.receive(U, heartbeat(1), 0.0)
    requested, now = [0.0], 0.0
    while now < 100:
        now += 0.5
        made.receive(U, heartbeat(1), now)
        actions = made.timer(now)
        if actions.subscribe:
            requested.append(now)
            assert actions.unsubscribe == (topic(len(requested) - 1),)
            assert actions.subscribe == (topic(len(requested)),)
    assert requested == [0.0, 3.0, 9.0, 21.0, 45.0, 75.0]


# -- the peer's name --


@pytest.mark.parametrize(
    ("configured", "announced", "why"),
    [
        ("B", "C", "announces the name 'C', but is configured as 'B'"),
        (None, "A", "announces this node's own name, 'A'"),
        ("A", "A", "announces this node's own name, 'A'"),
    ],
)
def test_a_wrong_name_is_refused_and_shown(
    configured: str | None, announced: str, why: str
) -> None:
    made = session(configured)
    first = made.receive(U, heartbeat(1, node=announced), 1.0)
    assert first == PeerActions(StateChange("b", DOWN, DOWN, why), updates=(PeerLost("b", why),))
    assert made.receive(U, update(1, client(1), node=announced), 1.1) == PeerActions()
    status = made.status()
    assert (status.state, status.detail, status.dropped) == (DOWN, why, 2)
    assert (status.configured, status.node) == (configured, announced)
    assert status.advertisements == 0


def test_a_peer_that_changes_to_a_wrong_name_is_lost() -> None:
    made = up(1)
    actions = made.receive(U, heartbeat(0, epoch=2, node="C"), 1.0)
    assert actions.state_change == StateChange(
        "b", UP, DOWN, "announces the name 'C', but is configured as 'B'"
    )
    assert actions.updates == (PeerLost("b", "announces the name 'C', but is configured as 'B'"),)
    assert made.receive(U, heartbeat(1), 2.0).subscribe == (topic(2),)


def test_without_a_configured_name_any_name_is_accepted() -> None:
    made = session(None)
    made.receive(U, heartbeat(1, node="X"), 0.0)
    assert (made.state, made.node) == (SYNCING, "X")


def test_another_version_is_incompatible_loses_the_routes_and_can_come_back() -> None:
    made = up(1)
    error = IncompatibleVersionError(2, "B")
    actions = made.incompatible(error, 1.0)
    why = "uses protocol version 2, this node uses 1"
    assert actions == PeerActions(
        StateChange("b", UP, INCOMPATIBLE, why), updates=(PeerLost("b", why),)
    )
    assert made.incompatible(error, 2.0) == PeerActions()
    assert (made.state, made.status().detail) == (INCOMPATIBLE, why)
    assert made.receive(U, heartbeat(1), 2.5).subscribe == (topic(2),)
    made.incompatible(error, 3.0)
    assert made.timer(6.0).state_change == StateChange(
        "b", INCOMPATIBLE, DOWN, "nothing received for 3 s"
    )


# -- counters --


def counted(made: PeerSession) -> tuple[int, int, int, int]:
    """Gaps, complete snapshots, requests that brought none, changes of state."""
    counters = made.counters()
    return counters.gaps, counters.snapshots, counters.timed_out, counters.state_changes


def test_gaps_are_counted_once_and_snapshots_as_they_end() -> None:
    made = up(1)
    assert counted(made) == (0, 1, 0, 2)  # down, syncing, up
    made.receive(U, update(3, client(3)), 1.0)  # without update 2
    made.receive(U, heartbeat(3), 1.1)
    made.receive(U, update(4, client(4)), 1.2)
    assert counted(made) == (1, 1, 0, 3)
    timers(made, 4.0)
    made.receive(U, heartbeat(4), 4.0)
    assert counted(made) == (1, 1, 1, 3)
    made.receive(topic(3), part(4, *clients(1, 3, 4)), 4.1)
    assert counted(made) == (1, 2, 1, 4)
    made.receive(U, heartbeat(6), 4.2)  # without updates 5 and 6
    assert counted(made) == (2, 2, 1, 5)


def test_every_message_is_counted_and_what_is_dropped_by_reason() -> None:
    made = up(1, limits=PeerLimits(3, 30, 1))
    made.receive(U, update(2, client(2)), 1.0)
    made.malformed("no message")
    made.incompatible(IncompatibleVersionError(2, "B"), 1.0)
    made.receive(U, heartbeat(1, node="C"), 1.0)
    made.receive(U, heartbeat(1, node="C"), 1.1)
    counters = made.counters()
    assert counters.messages == 7
    assert counters.dropped == {
        DropReason.MALFORMED: 1,
        DropReason.NAME: 2,
        DropReason.VERSION: 1,
        DropReason.OVER_LIMIT: 1,
    }
    assert made.last_accepted_name == "B"


# -- limits, malformed messages --


def test_an_update_over_the_limit_is_dropped_counted_and_made_up_for() -> None:
    made = up(1, 2, limits=PeerLimits(3, 30, 2))
    actions = made.receive(U, update(2, client(3)), 1.0)
    assert (actions.updates, actions.subscribe) == ((), (topic(2),))
    assert "over limit" in made.status().detail
    assert made.status().dropped == 1
    assert shown(made) == (SYNCING, 2)
    swap = Update(node="B", epoch=1, seq=3, advertise=clients(3), withdraw=(client(1).prefix,))
    assert made.receive(U, swap, 1.1).updates != ()


def test_a_snapshot_over_the_limit_is_dropped_and_the_old_routes_stay() -> None:
    made = up(1, 2, limits=PeerLimits(3, 30, 2))
    made.receive(U, heartbeat(2), 1.0)
    for index in range(3):
        actions = made.receive(topic(2), part(2, client(index), index=index, count=3), 1.1)
        assert actions.updates == ()
    assert "over limit" in made.status().detail
    assert shown(made) == (SYNCING, 2)
    made.receive(U, heartbeat(2), 2.0)
    assert made.timer(made.deadline).subscribe == (topic(3),)


def test_a_lower_limit_allows_withdrawals_but_no_additions() -> None:
    made = up(1, 2)
    made.reconfigure(PeerLimits(3, 30, 1))
    away = Update(node="B", epoch=1, seq=2, withdraw=(client(1).prefix,))
    assert made.receive(U, away, 1.0).updates != ()
    assert made.receive(U, update(3, client(3)), 1.0).updates == ()


def test_other_limits_apply_at_once() -> None:
    made = up(1)
    made.reconfigure(PeerLimits(0.3, 30, 1000))
    assert made.deadline == pytest.approx(0.3)


def test_malformed_messages_are_counted_and_do_not_restart_the_hold_timer() -> None:
    made = session()
    made.malformed("no message")
    assert made.status().dropped == 1
    assert "no message" in made.status().detail
    assert made.deadline == 3.0
    assert made.status().last_received is None


def address6(number: int) -> Advertisement:
    """The IPv6 address of client *number*."""
    prefix = Prefix(b"\xfd" + bytes(13) + number.to_bytes(2), 128)
    return Advertisement(prefix, Kind.CLIENT, b"client%d" % number, 1, True)


def test_the_status_counts_a_client_with_two_addresses_once_and_no_networks() -> None:
    made = up(1, 2)
    network = Advertisement(Prefix.parse("10.9.0.0/24"), Kind.NETWORK, b"client1", 1, True)
    made.receive(U, update(2, network, address6(1), address6(2), address6(3)), 1.0)
    status = made.status()
    assert (status.advertisements, status.clients, status.last_received) == (6, 3, 1.0)
    gone = (address6(1).prefix, address6(1).prefix, address6(2).prefix)
    withdrawal = Update(node="B", epoch=1, seq=3, advertise=(client(2, 2),), withdraw=gone)
    made.receive(U, withdrawal, 1.0)
    assert (made.status().advertisements, made.status().clients) == (4, 2)
    made.receive(U, goodbye(restarting=False), 2.0)
    assert (made.status().advertisements, made.status().clients) == (0, 0)


def test_a_peer_without_a_table_is_never_up() -> None:
    assert set(NEXT) == {(s, event) for s in PeerState for event in PeerEvent} - {
        (INCOMPATIBLE, PeerEvent.IN_SYNC),
    }


# -- what the peer says of itself --

MAINTENANCE = NodeInfo(state=NodeState.MAINTENANCE, by="root", since=7, clients=3)


def says(info: NodeInfo, *, node: str = "B", epoch: int = 1) -> Heartbeat:
    return Heartbeat(node=node, epoch=epoch, seq=1, syncing=False, info=info)


def test_what_a_peer_says_of_itself_is_a_change_once() -> None:
    made = session()
    assert made.info is None
    assert made.receive(U, says(NodeInfo()), 0.0).info == InfoChange(None, NodeInfo())
    assert made.receive(U, says(MAINTENANCE), 0.1).info == InfoChange(NodeInfo(), MAINTENANCE)
    assert made.receive(U, says(MAINTENANCE), 0.2).info is None
    assert made.receive(U, update(2, client(1)), 0.3).info is None
    assert made.info == MAINTENANCE


@pytest.mark.parametrize("restarting", [False, True])
def test_it_is_kept_while_the_peer_is_lost_and_over_its_restart(restarting: bool) -> None:
    made = up(1)
    made.receive(U, says(MAINTENANCE), 0.1)
    made.receive(U, goodbye(restarting=restarting), 0.2)
    timers(made, 100.0)
    assert (made.state, made.info) == (DOWN, MAINTENANCE)
    assert made.receive(U, says(MAINTENANCE, epoch=2), 101.0).info is None


def test_what_a_refused_peer_says_of_itself_has_no_effect() -> None:
    made = up(1)
    made.receive(U, says(NodeInfo(clients=1)), 0.1)
    assert made.receive(U, says(MAINTENANCE, node="X"), 0.2).info is None
    assert made.info == NodeInfo(clients=1)


def test_what_it_says_is_printable_and_can_be_included_in_a_configuration_of_openvpn() -> None:
    made = session()
    remotes = (
        "vpn1.example.org 1194 udp",
        "2001:db8::1 443 tcp6-client",
        'vpn1 1194 udp\nup "/bin/sh"',
        "vpn1 1194 udp # comment",
        "vpn1;x 1194 udp",
        "vpn1 99999999 udp",
        "vpn1 1194 sctp",
        "",
    )
    hostile = NodeInfo(by="root\x1b[2J", reason="one\ntwo\u202e", remotes=remotes)
    made.receive(U, says(hostile), 0.0)
    assert made.info == NodeInfo(by="root\\x1b[2J", reason="one\\ntwo\\u202e", remotes=remotes[:2])
