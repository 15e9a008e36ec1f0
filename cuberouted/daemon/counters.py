"""Counts the events of one daemon, for the metrics. Pure."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from cuberouted.events import (
    AnyEvent,
    ClientJoined,
    ClientKilled,
    ClientLeft,
    ClientMoved,
    ClientSentOn,
    Event,
    RouteChanged,
    RoutesRestored,
    RouteTrace,
    ServiceMoved,
)
from cuberouted.model import Kind
from cuberouted.util.histogram import Histogram

# fmt: off
CONVERGENCE_TIMES = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
)
# fmt: on
"""Seconds: the bounds of the histogram ``convergence``."""


class Counters:
    """What the events say, counted since the start. `count` is a listener of the `EventRing`."""

    def __init__(self) -> None:
        self.events: Counter[type[Event]] = Counter(dict.fromkeys(get_args(AnyEvent), 0))
        """By type."""
        self.route_changes = Counter(dict.fromkeys(RouteTrace, 0))
        self.convergence = Histogram(CONVERGENCE_TIMES)
        """Seconds from the news of a session to the kernel's acknowledgement of its route."""
        self.joined = self.moved = self.left = 0
        """Clients' addresses; networks behind clients are not counted."""
        self.killed: Counter[str] = Counter()
        """Sessions that were killed, by the name of the OpenVPN process."""
        self.routes_restored = 0
        self.sent_on: Counter[str] = Counter()
        """Sessions that were sent on to the next server, by the name of the OpenVPN process."""
        self.service_moves: Counter[str] = Counter()
        """By service: how often another node got the packets to it."""

    def count(self, event: Event) -> None:
        """Count *event*."""
        self.events[type(event)] += 1
        match event:
            case RouteChanged():
                self.route_changes[event.trace] += 1
            case ClientMoved():
                self.moved += event.kind is Kind.CLIENT
                self._observe(event.routed_after)
            case ClientJoined():
                self.joined += event.kind is Kind.CLIENT
                self._observe(event.routed_after)
            case ClientLeft():
                self.left += event.kind is Kind.CLIENT
            case ClientKilled():
                self.killed[event.openvpn] += 1
            case RoutesRestored():
                self.routes_restored += event.routes
            case ClientSentOn():
                self.sent_on[event.openvpn] += 1
            case ServiceMoved():
                self.service_moves[event.service] += bool(event.to_node)

    def _observe(self, routed_after: float | None) -> None:
        if routed_after is not None:
            self.convergence.observe(routed_after)
