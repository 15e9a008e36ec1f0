"""Carries out what `maintenance.rebalance` decides."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import attrs
import trio

from cuberouted.api.report_drain import RebalanceOrder, RebalanceReport
from cuberouted.daemon.drainer import (
    clients_here,
    elsewhere,
    is_listed,
    other_nodes,
    random_share,
    send_on,
)
from cuberouted.daemon.listings import count_clients
from cuberouted.maintenance.client import LocalSession
from cuberouted.maintenance.rebalance import Rebalance, Share, share

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon

LISTED_TIME = 6.0
"""Seconds for which a client that was sent on is still counted here: OpenVPN lists it for five."""

ENOUGH = 10
"""Clients that may come back before it is given up: see `Rebalancer`."""


class Rebalancer:
    """Sends clients on until they are even, when asked to.

    It gives up after twice as many as were too many, and `ENOUGH`: then they come back.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._running: Rebalance | None = None
        self._leaving: deque[tuple[float, LocalSession]] = deque()
        self._limit = 0
        self._why = ""

    @property
    def deadline(self) -> float:
        """When `step` is due."""
        return math.inf if self._running is None else self._running.deadline

    def stop(self) -> None:
        """Send nobody on any more."""
        self._running = None

    async def order(self, order: RebalanceOrder, by: str) -> RebalanceReport:
        """Begin, go on at another pace, or stop; *by*: the user."""
        found = await self._share()
        sent = self._running.sent if self._running else 0
        if order.stop:
            text = "stopped" if self._running else "nothing was running"
            self.stop()
            return self._report(found, sent, text)
        if not found.surplus:
            self.stop()
            return self._report(found, sent, found.why)
        self._running = Rebalance(order.per_minute, trio.current_time(), self._random)
        self._why = f"rebalance by {by}"
        self._limit = 2 * found.surplus + ENOUGH
        minutes = found.surplus / order.per_minute
        text = f"sends {order.per_minute:g} clients a minute on, for some {minutes:.1f} min"
        return self._report(found, 0, text)

    async def step(self) -> None:
        """Send a client on, if one is due."""
        running, now = self._running, trio.current_time()
        if running is None or not running.is_due(now):
            return
        found = await self._share()
        if running is not self._running:
            return
        if not found.surplus or running.sent >= self._limit:
            self.stop()
            return
        routes = {n: o.source.sessions.routes() for n, o in self._daemon.openvpns.items()}
        session = running.choose(routes, self._elsewhere)
        if session is None:
            self.stop()
        elif not send_on(self._daemon, session, self._why):
            self._leaving.append((now, session))

    async def _share(self) -> Share:
        daemon, now = self._daemon, trio.current_time()
        counted = await count_clients(daemon.node.rib)
        others = [attrs.evolve(o, clients=counted.get(o.name, 0)) for o in other_nodes(daemon)]
        while self._leaving and self._leaving[0][0] < now - LISTED_TIME:
            self._leaving.popleft()
        leaving = sum(is_listed(daemon, session) for _, session in self._leaving)
        here = max(0, clients_here(daemon) - leaving)
        on_their_way = sum(not self._elsewhere(session) for _, session in self._leaving)
        return share(here, daemon.config.capacity, others, on_their_way)

    def _elsewhere(self, session: LocalSession) -> str:
        return elsewhere(self._daemon, session.prefix, session.name)

    def _random(self) -> float:
        return random_share(self._daemon)

    def _report(self, found: Share, sent: int, text: str) -> RebalanceReport:
        return RebalanceReport(
            node=self._daemon.config.node,
            clients=found.clients,
            share=round(found.share, 1),
            surplus=found.surplus,
            sent=sent,
            running=self._running is not None,
            fuller=found.fuller,
            text=text,
        )
