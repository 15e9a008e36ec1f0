"""The tasks between the transport and the state machines: one publishes, one a peer receives."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from cuberouted.events import Emit, NodeStateChanged, PeerStateChanged, PeerWarning
from cuberouted.model import Advertisement, NodeInfo, NodeState, Prefix
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.change_limit import ChangeLimit
from cuberouted.peering.events import (
    InfoChange,
    PeerActions,
    PeerUpdate,
    RoutesReplaced,
    StateChange,
    not_received,
)
from cuberouted.peering.messages import (
    AnyReply,
    AnyRequest,
    Direct,
    IncompatibleVersionError,
    MalformedMessageError,
    decode,
)
from cuberouted.peering.session import PeerSession
from cuberouted.peering.transport import ConnectionState, PeerEndpoint, PeerSocket, Transport
from cuberouted.util.ratelimit import LogRateLimit

log = logging.getLogger(__name__)

TIME_SLICE = 0.01
"""Seconds of work after which other tasks run."""
DRAIN_TIME = 0.02
"""Seconds that ZeroMQ's I/O thread gets to hand over messages before a timer is handled."""
UNRECEIVED_INTERVAL = 3600.0
"""Seconds between two events about a peer that does not receive our snapshots."""
STALL = 0.1
"""A timer that is this many seconds late means that this process was not running."""

OnPeerUpdate = Callable[[PeerUpdate], Awaitable[None]]
OnDirect = Callable[[str, Direct], None]
"""Called with the peer's key and its message to this node alone."""


class PublisherTask:
    """Runs *publisher* on *transport*'s publishing socket."""

    def __init__(self, transport: Transport, publisher: Publisher, *, emit: Emit) -> None:
        self._transport = transport
        self._publisher = publisher
        self._emit = emit
        self._wait = trio.CancelScope()
        self._unreceived_limit = LogRateLimit(interval=UNRECEIVED_INTERVAL)

    async def run(self) -> None:
        """Answer subscribers and send heartbeats, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._publisher.deadline) as self._wait:
                await self._transport.readable(math.inf)
            now = trio.current_time()
            self._receive_frames(now)
            self._publish(self._publisher.timer(now))
            await trio.lowlevel.checkpoint()

    def announce(self, advertise: Iterable[Advertisement], withdraw: Iterable[Prefix]) -> None:
        """Advertise and withdraw; a prefix in both is advertised."""
        self._publish(self._publisher.announce(advertise, withdraw, trio.current_time()))

    def set_info(self, info: NodeInfo) -> None:
        """Publish what this node says of itself; see `Publisher.set_info`."""
        self._publish(self._publisher.set_info(info, trio.current_time()))
        self._wait.deadline = self._publisher.deadline

    def initial_sync_done(self) -> None:
        """All our own clients are known from now on."""
        self._publish(self._publisher.initial_sync_done(trio.current_time()))

    def goodbye(self, *, restarting: bool) -> None:
        """Publish our last message."""
        self._publish(self._publisher.goodbye(restarting=restarting))

    def direct(self, node: str, id_: bytes, body: AnyRequest | AnyReply) -> None:
        """Send *body* to *node* alone. It may get lost."""
        self._publish(self._publisher.direct(node, id_, body))

    def _receive_frames(self, now: float) -> None:
        # at most one time slice, so that a flood of frames cannot keep other tasks from running
        while (
            trio.current_time() < now + TIME_SLICE
            and (received := self._transport.receive()) is not None
        ):
            self._publish(self._publisher.receive(received.frame, received.peer, now))
            if received.peer is not None:
                self._emit_unreceived(received.peer, now)

    def _emit_unreceived(self, peer: str, now: float) -> None:
        count = self._publisher.unreceived(peer, now)
        if count and self._unreceived_limit.allow(peer, now) is not None:
            self._emit(PeerWarning(peer=peer, why=not_received(count, None)))

    def _publish(self, actions: PeerActions) -> None:
        for topic, payload in actions.publish:
            self._transport.publish(topic, payload)


class PeerReceiver:
    """Receives from one peer for *session*.

    Awaits ``on_update(update)`` for each update and calls ``on_direct(peer, message)`` for each
    message to this node alone, in order; ``on_change()`` after each change of its state, once the
    updates that go with it are applied. ``is_importing``: whether all that the peer advertises is
    being applied. What the peer says of itself is in `PeerSession.info`.
    """

    def __init__(
        self,
        transport: Transport,
        endpoint: PeerEndpoint,
        session: PeerSession,
        on_update: OnPeerUpdate,
        on_direct: OnDirect,
        *,
        emit: Emit,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = session
        self.is_importing = False
        self._on_change = on_change
        self._transport = transport
        self._endpoint = endpoint
        self._on_update = on_update
        self._on_direct = on_direct
        self._emit = emit
        self._dropped_limit = LogRateLimit()
        self._dropped_reported = 0
        self._change_limit: ChangeLimit[PeerStateChanged] = ChangeLimit()
        self._info_limit: ChangeLimit[NodeStateChanged] = ChangeLimit()

    async def run(self) -> None:
        """Run until cancelled. Cancelling emits no `PeerLost`."""
        with self._transport.connect(self._endpoint) as socket:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_connection, socket)
                await self._receive(socket)

    async def _watch_connection(self, socket: PeerSocket) -> None:
        while True:
            state = await socket.connection_change()
            if state is ConnectionState.CONNECTED:
                self.session.connected()
            else:
                self.session.disconnected(state.value)
            log.debug("peer %s: %s", self.session.known_as, state.value or "connected")

    async def _receive(self, socket: PeerSocket) -> None:
        for topic in self.session.topics:
            socket.subscribe(topic)
        while True:
            deadline = self.session.deadline
            limits = self._change_limit, self._info_limit
            await socket.readable(min(deadline, *(limit.deadline for limit in limits)))
            await self._drain(socket)
            for limit in limits:
                self._emit_change(limit.timer(trio.current_time()))
            if trio.current_time() >= self.session.deadline:
                await self._check_timeouts(socket, deadline)

    async def _check_timeouts(self, socket: PeerSocket, deadline: float) -> None:
        if trio.current_time() > deadline + STALL:
            self.session.clock_stalled(trio.current_time())
        # a message that has arrived restarts the hold timer, even if it has not been read yet
        await trio.sleep(DRAIN_TIME)
        await self._drain(socket)
        await self._act(self.session.timer(trio.current_time()), socket)

    async def _drain(self, socket: PeerSocket) -> None:
        slice_ends = trio.current_time() + TIME_SLICE
        while (frames := socket.receive()) is not None:
            await self._act(self._handle(frames), socket)
            if trio.current_time() >= slice_ends:
                await trio.lowlevel.checkpoint()
                slice_ends = trio.current_time() + TIME_SLICE
        await trio.lowlevel.checkpoint()

    def _handle(self, frames: Sequence[bytes]) -> PeerActions:
        now, dropped = trio.current_time(), self.session.dropped
        try:
            actions = self.session.receive(frames[0], decode(frames), now)
        except IncompatibleVersionError as error:
            return self.session.incompatible(error, now)
        except MalformedMessageError as error:
            self.session.malformed(str(error))
            self._emit_dropped(str(error), now)
            return PeerActions()
        if self.session.dropped != dropped:
            self._emit_dropped(self.session.why, now)
        return actions

    async def _act(self, actions: PeerActions, socket: PeerSocket) -> None:
        if actions.state_change is not None:
            self._state_changed(actions.state_change)
        for topic in actions.subscribe:
            socket.subscribe(topic)
        for topic in actions.unsubscribe:
            socket.unsubscribe(topic)
        self.is_importing = any(isinstance(update, RoutesReplaced) for update in actions.updates)
        for update in actions.updates:
            await self._on_update(update)
        if actions.state_change is not None or self.is_importing:
            self.is_importing = False
            self._on_change()
        if actions.direct is not None:
            self._on_direct(self.session.peer, actions.direct)
        if actions.info is not None:
            self._info_changed(actions.info)

    def _emit_dropped(self, why: str, now: float) -> None:
        if self._dropped_limit.allow("", now) is not None:
            count = self.session.dropped - self._dropped_reported
            self._dropped_reported = self.session.dropped
            why = f"dropped a message: {why}"
            self._emit(PeerWarning(peer=self.session.known_as, why=why, count=count))

    def _state_changed(self, change: StateChange) -> None:
        event = PeerStateChanged(
            peer=self._endpoint.label,
            known_as=self.session.known_as,
            old=change.old,
            new=change.new,
            why=change.why,
        )
        self._emit_change(self._change_limit.add(event, trio.current_time()))

    def _info_changed(self, change: InfoChange) -> None:
        old = NodeState.ACTIVE if change.old is None else change.old.state
        if change.new.state is not old:
            event = NodeStateChanged(
                of_node=self.session.last_accepted_name or self.session.peer,
                old=old,
                new=change.new.state,
                by=change.new.by,
                why=change.new.reason,
            )
            self._emit_change(self._info_limit.add(event, trio.current_time()))

    def _emit_change(self, event: PeerStateChanged | NodeStateChanged | None) -> None:
        if event is not None:
            self._emit(event)
