"""How much the clients of one listener may use at once.

One address may use half of it at most, so that no other is kept out by a single host. What comes
through a reverse proxy comes from one address.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple, TypeVar

import attrs
import trio

from cuberouted.api.http import Client, HttpError

MAX_CONNECTIONS = 128
"""Open connections. When there are so many, the one that has been idle longest is closed; if all
are busy, more wait in the backlog."""

MIN_IDLE = 0.1
"""Seconds for which a connection is idle at least before it is closed for that."""

MAX_ANSWERS = 16
"""Requests that are answered at once, without streams. More wait."""

MAX_STREAMS = 64
"""Streams at once."""

QUEUE_TIME = 3.0
"""Seconds that a request waits while too many are being answered."""

ACCEPT_RETRY = 0.1
"""Seconds until connections are accepted again after the process had no file descriptor left."""

S = TypeVar("S", bound=trio.abc.Stream)


class TooManyConnectionsError(Exception):
    """One address has as many connections as it may have, and all are busy."""


class _Idle(NamedTuple):
    """A connection that waits for a request."""

    origin: str
    since: float


@attrs.define
class _Share:
    """What the clients of one address use."""

    answers: trio.Semaphore
    connections: int = 0
    streams: int = 0


class Limits:
    """Counts connections, answers and streams, and holds them back or refuses them."""

    def __init__(self) -> None:
        self.streams = 0
        """Streams that are being sent."""
        self._connections = 0
        self._busy = 0
        self._answers = trio.Semaphore(MAX_ANSWERS)
        self._changed = trio.lowlevel.ParkingLot()
        self._idle: dict[trio.CancelScope, _Idle] = {}  # the longest idle first
        self._shares: dict[str, _Share] = {}  # by `Client.origin`

    async def wait_idle(self) -> None:
        """Wait until no request is being answered."""
        while self._busy:
            await self._changed.park()

    # -- connections --

    async def accept(
        self, accept: Callable[[], Awaitable[S]], on_error: Callable[[OSError], None]
    ) -> S:
        """Return what *accept* returns, once there is room; call `closed` after it is closed."""
        while True:
            while self._connections >= MAX_CONNECTIONS:
                self._close_longest_idle()
                with trio.move_on_after(MIN_IDLE):
                    await self._changed.park()
            try:
                stream = await accept()
            except OSError as error:  # no file descriptors or memory are left
                on_error(error)
                for _ in range((len(self._idle) + 1) // 2):
                    self._close_longest_idle()
                await trio.sleep(ACCEPT_RETRY)  # what was closed is left to the rest of the daemon
            else:
                self._connections += 1
                return stream

    def closed(self) -> None:
        """A connection that was accepted is closed."""
        self._connections -= 1
        self._changed.unpark_all()

    @contextmanager
    def connection(self, client: Client) -> Iterator[None]:
        """Count a connection of *client*; all else of it is done inside.

        Raises:
          TooManyConnectionsError: it has too many already, all of which are busy.
        """
        share = self._shares.get(client.origin)
        if share is None:
            answers = trio.Semaphore(_most(MAX_ANSWERS, client))
            share = self._shares[client.origin] = _Share(answers)
        full = share.connections >= _most(MAX_CONNECTIONS, client)
        if full and not self._close_longest_idle(client.origin):
            raise TooManyConnectionsError
        share.connections += 1
        try:
            yield
        finally:
            share.connections -= 1
            if not share.connections:
                del self._shares[client.origin]

    @asynccontextmanager
    async def idle(self, client: Client) -> AsyncIterator[trio.CancelScope]:
        """While inside, the connection may be closed in favour of another."""
        with trio.CancelScope() as scope:
            self._idle[scope] = _Idle(client.origin, trio.current_time())
            try:
                yield scope
            finally:
                self._idle.pop(scope, None)

    def _close_longest_idle(self, origin: str | None = None) -> bool:
        """Close one connection, of *origin* if given; return whether there was one."""
        now = trio.current_time()
        for scope, idle in self._idle.items():
            if now - idle.since < MIN_IDLE:
                return False
            if origin in (None, idle.origin):
                del self._idle[scope]
                scope.cancel()
                return True
        return False

    # -- answers and streams --

    @asynccontextmanager
    async def answering(self, client: Client) -> AsyncIterator[None]:
        """Count an answer. Waits while too many are under way, and raises HttpError."""
        own = self._shares[client.origin].answers
        with trio.move_on_after(QUEUE_TIME) as scope:
            await own.acquire()
            try:
                await self._answers.acquire()
            except trio.Cancelled:
                own.release()
                raise
        if scope.cancelled_caught:
            raise HttpError(503, "too many requests are being answered; try again")
        with self._is_busy():
            try:
                yield
            finally:
                self._answers.release()
                own.release()

    @asynccontextmanager
    async def streaming(self, client: Client) -> AsyncIterator[None]:
        """Count a stream. Raises HttpError if there are too many."""
        share, most = self._shares[client.origin], _most(MAX_STREAMS, client)
        if share.streams >= most:
            where = f" to {client.origin}" if client.origin else ""
            raise HttpError(503, f"{most} streams{where} are open, which is the limit")
        if self.streams >= MAX_STREAMS:
            raise HttpError(503, f"{MAX_STREAMS} streams are open, which is the limit")
        share.streams += 1
        self.streams += 1
        with self._is_busy():
            try:
                yield
            finally:
                self.streams -= 1
                share.streams -= 1

    @contextmanager
    def _is_busy(self) -> Iterator[None]:
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._changed.unpark_all()


def _most(limit: int, client: Client) -> int:
    return limit // 2 if client.origin else limit


class LimitedListener(trio.abc.Listener[S]):
    """Accepts a connection only when *limits* have room. *on_error*: why one was not accepted."""

    def __init__(
        self, listener: trio.abc.Listener[S], limits: Limits, on_error: Callable[[OSError], None]
    ) -> None:
        self._listener = listener
        self._limits = limits
        self._on_error = on_error

    async def accept(self) -> S:
        """See `trio.abc.Listener`."""
        return await self._limits.accept(self._listener.accept, self._on_error)

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._listener.aclose()
