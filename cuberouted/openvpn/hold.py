"""Keeps the clients of an OpenVPN that has gone for a while, and then withdraws them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import trio

from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from cuberouted.util.lock import FastPathLock

OnUpdate = Callable[[SessionUpdate], Awaitable[None]]


class SessionHold:
    """One OpenVPN's outage. ``hold_time`` is seconds, and may be changed.

    It passes on all news of *sessions*, its own among them, one after the other.
    """

    def __init__(self, sessions: Sessions, hold_time: float, on_news: OnUpdate) -> None:
        self._sessions = sessions
        self.hold_time = hold_time
        self._on_news = on_news
        self._telling = FastPathLock()  # fair: news arrive in the order in which they came about
        self._until = inf
        self._sleep = trio.CancelScope()

    def begin(self) -> None:
        """OpenVPN serves nobody from now on, if it did not before."""
        if self._until == inf:
            self._set(trio.current_time() + self.hold_time)

    def end(self) -> None:
        """A complete listing has come: what is held is true again."""
        self._set(inf)

    async def tell(self, news: SessionUpdate) -> None:
        """Pass *news* on, after what was told before."""
        async with self._telling:
            await self._on_news(news)

    async def run(self) -> None:
        """Withdraw everything whenever an outage has lasted for the hold time."""
        while True:
            with trio.CancelScope(deadline=self._until) as self._sleep:
                await trio.sleep_forever()
            if trio.current_time() >= self._until:
                self._until = inf
                news = self._sessions.lost()
                if news is not None:
                    await self.tell(news)

    def _set(self, until: float) -> None:
        self._until = self._sleep.deadline = until
