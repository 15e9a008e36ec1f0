"""PublisherTask and PeerReceiver on a network in memory, in no real time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from cuberouted.events import Event, Level, NodeStateChanged, PeerStateChanged, PeerWarning
from cuberouted.model import Advertisement, NodeInfo, NodeState, Prefix
from cuberouted.peering.adj_rib_out import MIN_GREETING_INTERVAL, Publisher
from cuberouted.peering.change_limit import INTERVAL, MAX_CHANGES
from cuberouted.peering.events import PeerLost, PeerState, PeerUpdate, RoutesChanged, RoutesReplaced
from cuberouted.peering.messages import Direct, DisconnectRequest, Heartbeat, Update, encode
from cuberouted.peering.session import PeerSession
from cuberouted.peering.tasks import PeerReceiver, PublisherTask
from cuberouted.peering.transport import PeerEndpoint, SubscriberFrame
from tests.fakes.transport import FakeNetwork, FakeTransport
from tests.unit.peering.samples import LIMITS, client, clients

Clock = trio.testing.MockClock

A, B = b"\x0a\xc8\xc8\x01", b"\x0a\xc8\xc8\x05"
NAMES = {A: "A", B: "B"}


class FakeNode:
    """A publisher, and a receiver for the other node; ``routes`` is what the updates make."""

    def __init__(self, network: FakeNetwork, address: bytes, epoch: int = 1) -> None:
        other = B if address == A else A
        self.transport: FakeTransport = network.transport(address)
        self.transport.allow({other: NAMES[other]})
        self.transport.listen([address])
        now = trio.current_time()
        self.events: list[Event] = []
        self.publisher = PublisherTask(
            self.transport, Publisher(NAMES[address], epoch, 1.0, now), emit=self.events.append
        )
        self.session = PeerSession(NAMES[other], NAMES[other], NAMES[address], LIMITS, now)
        self.updates: list[PeerUpdate] = []
        self.routes: dict[Prefix, Advertisement] = {}
        endpoint = PeerEndpoint(NAMES[other], other, 5657, "tun1")
        self.direct: list[tuple[str, Direct]] = []
        self.states: list[tuple[PeerState, int]] = []
        """At each call of `on_change`: the state, and how many routes there were."""
        self.importing: list[bool] = []
        self.receiver = PeerReceiver(
            self.transport,
            endpoint,
            self.session,
            self.on_update,
            lambda peer, message: self.direct.append((peer, message)),
            emit=self.events.append,
            on_change=lambda: self.states.append((self.session.state, len(self.routes))),
        )

    @property
    def warnings(self) -> list[PeerWarning]:
        """The events of that kind."""
        return [event for event in self.events if isinstance(event, PeerWarning)]

    @property
    def changes(self) -> list[PeerStateChanged]:
        """The events of that kind."""
        return [event for event in self.events if isinstance(event, PeerStateChanged)]

    def state(self) -> PeerState:
        return self.session.state

    async def on_update(self, update: PeerUpdate) -> None:
        await trio.lowlevel.checkpoint()
        self.importing.append(self.receiver.is_importing)
        self.updates.append(update)
        match update:
            case RoutesChanged():
                for prefix in update.withdraw:
                    self.routes.pop(prefix, None)
                self.routes |= {a.prefix: a for a in update.advertise}
            case RoutesReplaced():
                self.routes = {a.prefix: a for a in update.advertisements}
            case PeerLost():
                self.routes = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.publisher.run)
            nursery.start_soon(self.receiver.run)
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@asynccontextmanager
async def mesh(network: FakeNetwork) -> AsyncIterator[tuple[FakeNode, FakeNode]]:
    """A and B, synced and up; A has client 1."""
    a, b = FakeNode(network, A), FakeNode(network, B)
    async with a.running(), b.running():
        a.publisher.announce(clients(1), ())
        a.publisher.initial_sync_done()
        b.publisher.initial_sync_done()
        await trio.sleep(0.5)
        assert a.session.state is b.session.state is PeerState.UP
        yield a, b


async def test_updates_arrive_within_milliseconds(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        assert b.routes == {client(1).prefix: client(1)}
        a.publisher.announce(clients(2), [client(1).prefix])
        await trio.sleep(0.002)
        assert b.routes == {client(2).prefix: client(2)}


async def test_a_change_of_state_is_told_once_its_updates_are_applied(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        a.publisher.announce(clients(2), ())
        await trio.sleep(0.1)
        assert b.importing == [True, False]  # the snapshot, and an update
        a.publisher.goodbye(restarting=False)
        await trio.sleep(0.1)
        assert b.states[-2:] == [(PeerState.UP, 1), (PeerState.DOWN, 0)]
        assert not b.receiver.is_importing


async def test_a_lost_update_is_made_up_for_by_a_snapshot(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        network.lose(A, B, 1)
        a.publisher.announce(clients(2), ())
        await trio.sleep(1.5)
        assert set(b.routes) == {client(1).prefix, client(2).prefix}


async def test_a_partition_loses_the_routes_after_hold_time_and_heals(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (_, b):
        network.partition(A, B)
        await trio.sleep(1.9)
        assert b.routes
        await trio.sleep(1.2)
        assert b.routes == {}
        assert b.updates[-1] == PeerLost("A", "nothing received for 3 s")
        network.heal(A, B)
        await trio.sleep(0.5)
        assert b.routes
        assert b.session.state is PeerState.UP


async def test_a_connection_lost_for_a_moment_changes_no_route(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        before = len(b.updates)
        network.disconnect(A, B)
        a.publisher.announce(clients(2), ())
        await trio.sleep(1)
        assert PeerLost not in map(type, b.updates[before:])
        assert set(b.routes) == {client(1).prefix, client(2).prefix}


async def test_an_announced_restart_withdraws_no_route(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    b = FakeNode(network, B)
    async with b.running():
        a = FakeNode(network, A)
        async with a.running():
            a.publisher.announce(clients(1), ())
            a.publisher.initial_sync_done()
            await trio.sleep(2)
            a.publisher.goodbye(restarting=True)
        network.stop(A)
        await trio.sleep(20)
        assert b.state() is PeerState.RESTARTING
        again = FakeNode(network, A, epoch=2)
        async with again.running():
            await trio.sleep(2)
            assert b.state() is PeerState.SYNCING
            again.publisher.announce(clients(1), ())
            again.publisher.initial_sync_done()
            await trio.sleep(0.5)
            assert b.state() is PeerState.UP
    assert [type(update) for update in b.updates] == [RoutesReplaced, RoutesReplaced]


async def test_a_goodbye_withdraws_at_once(network: FakeNetwork, autojump_clock: Clock) -> None:
    async with mesh(network) as (a, b):
        a.publisher.goodbye(restarting=False)
        await trio.sleep(0.01)
        assert b.routes == {}


async def test_after_our_own_stall_no_peer_is_down(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (_, b):
        before = len(b.updates)
        autojump_clock.jump(60)
        await trio.sleep(5)
        assert b.updates[before:] == []
        assert b.session.state is PeerState.UP


async def test_the_reason_is_shown_when_a_peer_rejects_us(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    a, b = FakeNode(network, A), FakeNode(network, B)
    a.transport.allow({})
    async with a.running(), b.running():
        await trio.sleep(1)
        assert "rejects us" in b.session.status().detail
        assert a.transport.rejected_connections == 1
        a.transport.allow({B: "B"})
        a.publisher.initial_sync_done()
        await trio.sleep(1)
        assert b.session.state is PeerState.UP


async def test_malformed_messages_are_an_event_once_a_minute(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        for _ in range(1000):
            a.transport.publish(b"u", b"nonsense")
        await trio.sleep(0.1)
        assert b.session.status().dropped == 1000
        assert b.session.state is PeerState.UP
    (warning,) = b.warnings
    assert (warning.peer, warning.count) == ("A", 1)
    assert warning.why.startswith("dropped a message: ")


async def test_each_state_change_is_an_event(network: FakeNetwork, autojump_clock: Clock) -> None:
    async with mesh(network) as (_, b):
        assert [str(change) for change in b.changes] == [
            "peer A: down -> syncing, waiting for its snapshot",
            "peer A: syncing -> up, snapshot complete, prefixes: 1",
        ]
        network.partition(A, B)
        await trio.sleep(5)
        last = b.changes[-1]
        assert (last.new, last.level, last.count) == ("down", Level.WARNING, 1)


async def test_of_a_peer_that_changes_its_name_without_end_the_events_are_few_and_right(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        for number in range(200):
            name = "X" if number % 2 else "A"
            a.transport.publish(b"u", encode(Heartbeat(node=name, epoch=9, seq=0, syncing=True)))
        await trio.sleep(0.1)
        network.partition(A, B)
        assert b.session.status().dropped == 100
        assert b.session.state is PeerState.DOWN
        assert len(b.changes) == MAX_CHANGES
        assert [warning.count for warning in b.warnings] == [1]
        await trio.sleep(INTERVAL)
        assert b.session.state is PeerState.DOWN
        changes = b.changes
    assert [change.old for change in changes[1:]] == [change.new for change in changes[:-1]]
    assert changes[-1].new == "down"
    assert sum(change.count for change in changes) == 2 + 200
    assert len(changes) == MAX_CHANGES + 1


async def test_a_peer_over_its_limit_is_counted_and_named_once_a_minute(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        known = dict(b.routes)
        million = Update(node="A", epoch=1, seq=2, advertise=clients(*range(2, 1500)))
        for _ in range(120):
            a.transport.publish(b"u", encode(million))
            await trio.sleep(1)
        assert b.session.status().dropped == 120
        assert b.routes == known
    why = "dropped a message: over limit: 1499 prefixes, max_advertisements = 1000"
    assert b.warnings == [
        PeerWarning(peer="A", why=why),
        PeerWarning(peer="A", why=why, count=60),
    ]
    assert str(b.warnings[1]) == f"peer A: {why} (and 59 more since the last such message)"


async def test_a_flood_of_frames_does_not_keep_a_node_from_publishing(network: FakeNetwork) -> None:
    async with mesh(network) as (a, b):

        def flood() -> SubscriberFrame:
            return SubscriberFrame(None, b"nonsense")

        a.transport.receive = flood  # type: ignore[method-assign]
        a.transport.inbox.put(flood(), 0)
        a.publisher.announce(clients(2), ())
        with trio.fail_after(10):
            while len(b.routes) < 2:
                await trio.lowlevel.checkpoint()


async def test_another_version_shows_as_incompatible(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        a.transport.publish(b"u", encode(Update(version=2, node="A", epoch=1, seq=1)))
        await trio.sleep(0.01)
        assert b.session.state is PeerState.INCOMPATIBLE
        assert b.routes == {}


async def test_a_cancelled_receiver_leaves_no_connection(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network):
        pass
    assert network.subscribers(A) == network.subscribers(B) == []


async def test_a_message_to_one_node_reaches_that_node(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        request = DisconnectRequest(client=b"host1", by="root")
        a.publisher.direct("B", b"12345678", request)
        a.publisher.direct("C", b"12345678", request)
        await trio.sleep(0.1)
        [(peer, message)] = b.direct
        assert (peer, message.node, message.id, message.body) == ("A", "A", b"12345678", request)
        assert b.session.status().dropped == 0


async def test_a_peer_that_drains_is_known_at_once_and_an_event(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        assert b.session.info == NodeInfo()
        for state in (NodeState.DRAINING, NodeState.MAINTENANCE):
            a.publisher.set_info(NodeInfo(state=state, by="root", reason="kernel"))
            await trio.sleep(0.11)
            assert b.session.info is not None
            assert b.session.info.state is state
        a.publisher.set_info(NodeInfo(state=NodeState.MAINTENANCE, by="root", clients=4))
        await trio.sleep(1.1)
        assert b.session.info.clients == 4
        assert [str(e) for e in b.events if isinstance(e, NodeStateChanged)] == [
            "node A: active -> draining, by root: kernel",
            "node A: draining -> maintenance, by root: kernel",
        ]


async def test_a_second_change_right_after_the_first_does_not_wait_for_a_heartbeat(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        await trio.sleep(0.3)  # the publisher's task waits for the next heartbeat
        a.publisher.set_info(NodeInfo(state=NodeState.DRAINING))
        await trio.sleep(0.01)
        a.publisher.set_info(NodeInfo(state=NodeState.MAINTENANCE))
        await trio.sleep(MIN_GREETING_INTERVAL)
        assert b.session.info == NodeInfo(state=NodeState.MAINTENANCE)


async def test_a_peer_first_heard_of_in_maintenance_is_an_event_and_an_active_one_is_none(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    a, b = FakeNode(network, A), FakeNode(network, B)
    b.publisher.set_info(NodeInfo(state=NodeState.MAINTENANCE))
    async with a.running(), b.running():
        await trio.sleep(1)
    found = [(e.of_node, e.old, e.new) for e in a.events if isinstance(e, NodeStateChanged)]
    assert found == [("B", "active", "maintenance")]
    assert not [e for e in b.events if isinstance(e, NodeStateChanged)]


async def test_of_a_peer_that_changes_its_state_without_end_the_events_are_few_and_right(
    network: FakeNetwork, autojump_clock: Clock
) -> None:
    async with mesh(network) as (a, b):
        for number in range(201):
            info = NodeInfo(state=NodeState.ACTIVE if number % 2 else NodeState.DRAINING)
            message = Heartbeat(node="A", epoch=1, seq=1, syncing=False, info=info)
            a.transport.publish(b"u", encode(message))
        a.publisher.set_info(info)
        await trio.sleep(2 * INTERVAL)
        found = [event for event in b.events if isinstance(event, NodeStateChanged)]
    assert len(found) == MAX_CHANGES + 1
    assert (found[-1].new, sum(event.count for event in found)) == ("draining", 201)
