"""The tasks that listen to one peer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from cuberouted.model import Advertisement, Prefix
from cuberouted.peering.adj_rib_out import Outgoing, Publisher
from cuberouted.peering.events import PeerState, PeerUpdate, SessionActions, StateChange
from cuberouted.peering.messages import (
    UPDATES,
    IncompatibleVersionError,
    MalformedMessageError,
    decode,
)
from cuberouted.peering.session import PeerSession
from cuberouted.peering.transport import ConnectionState, PeerEndpoint, PeerSocket, Transport
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

TIME_SLICE = 0.02
"""Seconds of requests after which everything else gets its turn."""


class PublisherTask:
    """Publishes on *transport* what *publisher* returns. Only `run` waits."""

    def __init__(self, bus: Transport, publisher: Publisher) -> None:
        self._transport = bus
        self._publisher = publisher

    async def run(self) -> None:
        """Answer subscribers, and beat when nothing else was said; for ever."""
        while True:
            await self._transport.readable(self._publisher.deadline)
            now = trio.current_time()
            self._take_requests(now)
            self._publish(self._publisher.timer(now))
            await trio.lowlevel.checkpoint()

    def _take_requests(self, now: float) -> None:
        # no longer than a slice: who asks without end must not keep us from all else
        while (
            trio.current_time() < now + TIME_SLICE
            and (request := self._transport.receive()) is not None
        ):
            self._publisher.request(request.frame, request.peer, now)

    def say(self, advertise: Iterable[Advertisement], withdraw: Iterable[Prefix]) -> None:
        """Advertise and withdraw; a prefix in both is advertised."""
        self._publish(self._publisher.say(advertise, withdraw, trio.current_time()))

    def synced(self) -> None:
        """A complete listing stands behind what we say from now on."""
        self._publish(self._publisher.synced(trio.current_time()))

    def goodbye(self, *, restarting: bool) -> None:
        """Our last words."""
        self._publish(self._publisher.goodbye(restarting=restarting))

    def _publish(self, said: Iterable[Outgoing]) -> None:
        for topic, payload in said:
            self._transport.publish(topic, payload)


log = logging.getLogger(__name__)

TIME_SLICE = 0.02
"""Seconds of work after which the other tasks get their turn."""
DRAIN_TIME = 0.02
"""Seconds that ZeroMQ's own thread has to hand over what has arrived, before a judgement."""
STALL = 0.1
"""A timer this many seconds late means that this process did not run."""

OnPeerUpdate = Callable[[PeerUpdate], Awaitable[None]]


class PeerReceiver:
    """Receives *session*'s peer on *transport*; awaits ``on_news(update)`` in order."""

    def __init__(
        self, bus: Transport, end: PeerEndpoint, session: PeerSession, on_news: OnPeerUpdate
    ) -> None:
        self.session = session
        self._transport = bus
        self._end = end
        self._on_news = on_news
        self._dropped_limit = LogRateLimit()
        self._state_limit = LogRateLimit(burst=30)

    async def run(self) -> None:
        """Listen for ever. Cancel it to part with the peer; that tells no news."""
        with self._transport.open(self._end) as socket:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_link, socket)
                await self._listen(socket)

    async def _watch_link(self, socket: PeerSocket) -> None:
        while True:
            link = await socket.link_change()
            if link is ConnectionState.CONNECTED:
                self.session.connected()
            else:
                self.session.disconnected(link.value)
            log.debug("peer %s: %s", self.session.peer, link.value or "connected")

    async def _listen(self, socket: PeerSocket) -> None:
        socket.subscribe(UPDATES)
        while True:
            deadline = self.session.deadline
            await socket.readable(deadline)
            await self._drain(socket)
            if trio.current_time() >= self.session.deadline:
                await self._judge(socket, deadline)

    async def _judge(self, socket: PeerSocket, deadline: float) -> None:
        if trio.current_time() > deadline + STALL:
            self.session.clock_stalled(trio.current_time())
        await trio.sleep(DRAIN_TIME)
        await self._drain(socket)
        await self._carry_out(self.session.timer(trio.current_time()), socket)

    async def _drain(self, socket: PeerSocket) -> None:
        turn_ends = trio.current_time() + TIME_SLICE
        while (frames := socket.receive()) is not None:
            await self._carry_out(self._take(frames), socket)
            if trio.current_time() >= turn_ends:
                await trio.lowlevel.checkpoint()
                turn_ends = trio.current_time() + TIME_SLICE
        await trio.lowlevel.checkpoint()

    def _take(self, frames: Sequence[bytes]) -> SessionActions:
        now, before = trio.current_time(), self.session.refused
        try:
            outcome = self.session.receive(frames[0], decode(frames), now)
        except IncompatibleVersionError as error:
            return self.session.incompatible(error, now)
        except MalformedMessageError as error:
            self.session.malformed(str(error))
            self._complain(str(error), now)
            return SessionActions()
        if self.session.refused != before:
            self._complain(self.session.why, now)
        return outcome

    def _complain(self, why: str, now: float) -> None:
        suppressed = self._dropped_limit.allow("", now)
        if suppressed is not None:
            note = suppressed_note(suppressed)
            log.warning("peer %s: dropped a message: %s%s", self.session.peer, why, note)

    async def _carry_out(self, outcome: SessionActions, socket: PeerSocket) -> None:
        if outcome.moved is not None:
            self._log(outcome.moved)
        for topic in outcome.unsubscribe:
            socket.unsubscribe(topic)
        for topic in outcome.subscribe:
            socket.subscribe(topic)
        for news in outcome.news:
            await self._on_news(news)

    def _log(self, moved: StateChange) -> None:
        suppressed = self._state_limit.allow("", trio.current_time())
        if suppressed is None:
            return
        level = logging.INFO if moved.new in _WELL else logging.WARNING
        old, new = moved.old.value, moved.new.value
        more = suppressed_note(suppressed)
        log.log(level, "peer %s: %s -> %s, %s%s", moved.peer, old, new, moved.why, more)


_WELL = frozenset({PeerState.SYNCING, PeerState.UP, PeerState.RESTARTING})
