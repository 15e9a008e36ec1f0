"""The task that listens to one peer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from cuberouted.sharing.allowance import Allowance
from cuberouted.sharing.messages import (
    UPDATES,
    IncompatibleVersionError,
    MalformedMessageError,
    decode,
)
from cuberouted.sharing.news import Moved, Outcome, PeerNews, PeerState
from cuberouted.sharing.port import Link, PeerSocket
from cuberouted.sharing.session import PeerSession

log = logging.getLogger(__name__)

SLICE = 0.02
"""Seconds of work after which the other tasks get their turn."""
GRACE = 0.02
"""Seconds that ZeroMQ's own thread has to hand over what has arrived, before a judgement."""
DEAF = 0.1
"""A timer this many seconds late means that this process did not run."""

OnNews = Callable[[PeerNews], Awaitable[None]]


async def listen(socket: PeerSocket, session: PeerSession, on_news: OnNews) -> None:
    """Hear *session*'s peer on *socket* for ever, and tell the news in order."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_link, socket, session)
        await _Listener(socket, session, on_news).run()


async def _watch_link(socket: PeerSocket, session: PeerSession) -> None:
    while True:
        link = await socket.link_change()
        if link is Link.CONNECTED:
            session.connected()
        else:
            session.disconnected(link.value)
        log.debug("peer %s: %s", session.peer, link.value or "connected")


class _Listener:
    def __init__(self, socket: PeerSocket, session: PeerSession, on_news: OnNews) -> None:
        self._socket = socket
        self._session = session
        self._on_news = on_news
        self._may_log_malformed = Allowance(1, 60)
        self._may_log_moves = Allowance(30, 60)

    async def run(self) -> None:
        self._socket.subscribe(UPDATES)
        while True:
            deadline = self._session.deadline
            with trio.move_on_at(deadline):
                await self._socket.readable()
            await self._drain()
            if trio.current_time() >= self._session.deadline:
                await self._judge(deadline)

    async def _judge(self, deadline: float) -> None:
        if trio.current_time() > deadline + DEAF:
            self._session.was_deaf(trio.current_time())
        await trio.sleep(GRACE)
        await self._drain()
        await self._carry_out(self._session.timer(trio.current_time()))

    async def _drain(self) -> None:
        turn_ends = trio.current_time() + SLICE
        while (frames := self._socket.receive()) is not None:
            await self._carry_out(self._take(frames))
            if trio.current_time() >= turn_ends:
                await trio.lowlevel.checkpoint()
                turn_ends = trio.current_time() + SLICE
        await trio.lowlevel.checkpoint()

    def _take(self, frames: Sequence[bytes]) -> Outcome:
        now = trio.current_time()
        try:
            return self._session.receive(frames[0], decode(frames), now)
        except IncompatibleVersionError as error:
            return self._session.incompatible(error, now)
        except MalformedMessageError as error:
            self._session.malformed(str(error))
            if self._may_log_malformed.take(now):
                log.warning("peer %s: message dropped: %s", self._session.peer, error)
            return Outcome()

    async def _carry_out(self, outcome: Outcome) -> None:
        if outcome.moved is not None:
            self._log(outcome.moved)
        for topic in outcome.unsubscribe:
            self._socket.unsubscribe(topic)
        for topic in outcome.subscribe:
            self._socket.subscribe(topic)
        for news in outcome.news:
            await self._on_news(news)

    def _log(self, moved: Moved) -> None:
        if not self._may_log_moves.take(trio.current_time()):
            return
        level = logging.INFO if moved.new in _WELL else logging.WARNING
        old, new = moved.old.value, moved.new.value
        withheld = self._may_log_moves.tally()
        more = f" ({withheld} changes before this were not logged)" if withheld else ""
        log.log(level, "peer %s: %s -> %s, %s%s", moved.peer, old, new, moved.why, more)


_WELL = frozenset({PeerState.SYNCING, PeerState.UP, PeerState.RESTARTING})
