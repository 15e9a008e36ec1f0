"""The task that speaks for this node."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from cuberouted.model import Advertisement, Prefix
from cuberouted.sharing.port import Bus
from cuberouted.sharing.publisher import Publisher, Said

SLICE = 0.02
"""Seconds of requests after which everything else gets its turn."""


class Speaker:
    """Says on *bus* what *publisher* has to say. Only `run` waits; the rest is said at once."""

    def __init__(self, bus: Bus, publisher: Publisher) -> None:
        self._bus = bus
        self._publisher = publisher

    async def run(self) -> None:
        """Answer subscribers, and beat when nothing else was said; for ever."""
        while True:
            await self._bus.readable(self._publisher.deadline)
            now = trio.current_time()
            self._take_requests(now)
            self._publish(self._publisher.timer(now))
            await trio.lowlevel.checkpoint()

    def _take_requests(self, now: float) -> None:
        # no longer than a slice: who asks without end must not keep us from all else
        while trio.current_time() < now + SLICE and (request := self._bus.receive()) is not None:
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

    def _publish(self, said: Iterable[Said]) -> None:
        for topic, payload in said:
            self._bus.publish(topic, payload)
