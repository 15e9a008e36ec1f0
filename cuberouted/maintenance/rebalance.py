"""Sending some clients on until all nodes have their share. Sans-IO.

OpenVPN chooses the server that a client tries next, not we: each client is sent on once at most,
and it is looked again before the next one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from cuberouted.maintenance.client import LocalSession
from cuberouted.maintenance.drain import Elsewhere
from cuberouted.maintenance.guards import OtherNode
from cuberouted.maintenance.pace import Pace
from cuberouted.model import Kind, LocalRoute

MAX_SENT = 65536
"""Clients that are remembered, so that none is sent on twice."""


@attrs.frozen
class Share:
    """What this node has and should have.

    ``fuller``: the node that has the most above its share, if it is another one. ``why``: why
    there is nothing to send on; empty if there is.
    """

    clients: int
    share: float
    fuller: str = ""
    why: str = ""

    @property
    def surplus(self) -> int:
        """How many clients should be elsewhere."""
        return 0 if self.why else max(0, math.floor(self.clients - self.share))


def share(clients: int, capacity: int, others: Iterable[OtherNode], on_their_way: int = 0) -> Share:
    """The share of this node, which has so many *clients* and this *capacity* (0: not configured).

    *on_their_way*: clients that were sent on, and are at no other node yet.
    It is in proportion to the capacities if all available nodes have one, else all are alike.
    """
    available = [node for node in others if node.is_available]
    if not available:
        return Share(clients, float(clients), why="no other node takes clients")
    counts = [max(node.clients, node.info.clients if node.info else 0) for node in available]
    capacities = [0 if node.info is None else node.info.capacity for node in available]
    total = clients + on_their_way + sum(counts)
    if not (capacity and all(capacities)):
        capacity, capacities = 1, [1] * len(available)
    whole = capacity + sum(capacities)
    mine = total * capacity / whole
    if clients - mine >= 1:
        return Share(clients, mine)
    surpluses = [
        (count - total * each / whole, node.name)
        for node, count, each in zip(available, counts, capacities, strict=True)
    ]
    most, name = max(surpluses)
    if most >= 1:
        return Share(clients, mine, name, f"{name} has more than its share: run it there")
    return Share(clients, mine, why="the clients are even")


class Rebalance:
    """Sends the surplus of this node on, *per_minute* clients a minute.

    *uniform* returns a number from 0 to 1.
    """

    def __init__(self, per_minute: float, now: float, uniform: Callable[[], float]) -> None:
        self.sent = 0
        """How many were sent on."""
        self.per_minute = per_minute
        self._pace = Pace(60.0 / per_minute, now, uniform)
        self._uniform = uniform
        self._names: set[bytes] = set()

    @property
    def deadline(self) -> float:
        """When the next client may be sent on."""
        return self._pace.due_at

    def is_due(self, now: float) -> bool:
        """Whether a client may be sent on at *now*; if so, the time for it is used up."""
        return self._pace.take(now)

    def choose(
        self, routes: Mapping[str, Sequence[LocalRoute]], elsewhere: Elsewhere
    ) -> LocalSession | None:
        """A random client that was not sent on yet, and is here. None: nobody.

        *routes*: of the sessions here, by OpenVPN process.
        """
        if len(self._names) >= MAX_SENT:
            return None
        instances = list(routes)
        total = sum(map(len, routes.values()))
        start = int(self._uniform() * total)
        for at in itertools.chain(range(start, total), range(start)):
            instance, route = _at(routes, instances, at)
            if route.kind is not Kind.CLIENT or route.name in self._names:
                continue
            session = LocalSession(instance, route.session, route.name, route.prefix)
            if not elsewhere(session):
                self._names.add(route.name)
                self.sent += 1
                return session
        return None


def _at(
    routes: Mapping[str, Sequence[LocalRoute]], instances: Sequence[str], at: int
) -> tuple[str, LocalRoute]:
    for instance in instances:
        if at < len(routes[instance]):
            return instance, routes[instance][at]
        at -= len(routes[instance])
    raise IndexError(at)
