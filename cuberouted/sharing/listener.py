"""The tasks that listen to one peer."""

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
from cuberouted.sharing.port import Bus, Link, PeerEnd, PeerSocket
from cuberouted.sharing.session import PeerSession
from cuberouted.util.ratelimit import LogRateLimit

log = logging.getLogger(__name__)

SLICE = 0.02
"""Seconds of work after which the other tasks get their turn."""
GRACE = 0.02
"""Seconds that ZeroMQ's own thread has to hand over what has arrived, before a judgement."""
DEAF = 0.1
"""A timer this many seconds late means that this process did not run."""

OnNews = Callable[[PeerNews], Awaitable[None]]


class Listener:
    """Hears *session*'s peer on *bus*, and tells the news in order: ``await on_news(news)``."""

    def __init__(self, bus: Bus, end: PeerEnd, session: PeerSession, on_news: OnNews) -> None:
        self.session = session
        self._bus = bus
        self._end = end
        self._on_news = on_news
        self._dropped = LogRateLimit()
        self._moves = Allowance(30, 60)

    async def run(self) -> None:
        """Listen for ever. Cancel it to part with the peer; that tells no news."""
        with self._bus.open(self._end) as socket:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_link, socket)
                await self._listen(socket)

    async def _watch_link(self, socket: PeerSocket) -> None:
        while True:
            link = await socket.link_change()
            if link is Link.CONNECTED:
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
        if trio.current_time() > deadline + DEAF:
            self.session.was_deaf(trio.current_time())
        await trio.sleep(GRACE)
        await self._drain(socket)
        await self._carry_out(self.session.timer(trio.current_time()), socket)

    async def _drain(self, socket: PeerSocket) -> None:
        turn_ends = trio.current_time() + SLICE
        while (frames := socket.receive()) is not None:
            await self._carry_out(self._take(frames), socket)
            if trio.current_time() >= turn_ends:
                await trio.lowlevel.checkpoint()
                turn_ends = trio.current_time() + SLICE
        await trio.lowlevel.checkpoint()

    def _take(self, frames: Sequence[bytes]) -> Outcome:
        now, before = trio.current_time(), self.session.refused
        try:
            outcome = self.session.receive(frames[0], decode(frames), now)
        except IncompatibleVersionError as error:
            return self.session.incompatible(error, now)
        except MalformedMessageError as error:
            self.session.malformed(str(error))
            self._complain(str(error), now)
            return Outcome()
        if self.session.refused != before:
            self._complain(self.session.why, now)
        return outcome

    def _complain(self, why: str, now: float) -> None:
        kept_quiet = self._dropped.due("", now)
        if kept_quiet is not None:
            more = _more(kept_quiet)
            log.warning("peer %s: dropped a message: %s%s", self.session.peer, why, more)

    async def _carry_out(self, outcome: Outcome, socket: PeerSocket) -> None:
        if outcome.moved is not None:
            self._log(outcome.moved)
        for topic in outcome.unsubscribe:
            socket.unsubscribe(topic)
        for topic in outcome.subscribe:
            socket.subscribe(topic)
        for news in outcome.news:
            await self._on_news(news)

    def _log(self, moved: Moved) -> None:
        if not self._moves.take(trio.current_time()):
            return
        level = logging.INFO if moved.new in _WELL else logging.WARNING
        old, new = moved.old.value, moved.new.value
        more = _more(self._moves.tally())
        log.log(level, "peer %s: %s -> %s, %s%s", moved.peer, old, new, moved.why, more)


_WELL = frozenset({PeerState.SYNCING, PeerState.UP, PeerState.RESTARTING})


def _more(kept_quiet: int) -> str:
    return f" ({kept_quiet} more before this)" if kept_quiet else ""
