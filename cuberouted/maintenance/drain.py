"""Which clients of this node are sent on to the others, and when. Sans-IO.

All sessions of this host are looked at again and again: `begin_look`, `see`, `end_look`. Between
two looks `due` tells whom to send on now, and `sent` or `kept` is what came of it. Whoever
is here when the drain begins is sent on at an even pace. Whoever comes later, or comes back, stays
for a moment first, and for longer with each return.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from cuberouted.maintenance.client import (
    LISTED_AFTER,
    DrainedClient,
    LocalSession,
    Outcome,
)
from cuberouted.maintenance.pace import Pace, jitter
from cuberouted.maintenance.record import DEFAULT_INTERVAL
from cuberouted.model import Kind, LocalRoute, SessionId

CHUNK_CLIENTS = 500
"""Clients that are examined before other tasks run: one or two milliseconds of work."""

MAX_DUE = 100
"""Clients that are sent on at a time."""

RETRY_DELAY = 10.0
"""Seconds until it is tried again to send on a client that was kept."""

MAX_CLIENTS = 65536
"""Clients that are remembered. Those that are gone for good are forgotten first."""

SEARCHED_AFTER = 3.0
"""Seconds after which a client that is not at its address elsewhere is searched for by its name."""

_NOT_ENDED = "OpenVPN was told to send it on, and still lists its session"

_Key = tuple[str, SessionId, bytes]

Elsewhere = Callable[[LocalSession], str]
"""Returns the other node that has a client's address now, by the client's own name; or empty."""


@attrs.frozen
class Counts:
    """How many clients there are of each outcome, and how many have moved to each node.

    ``pending``: those for which the drain waits.
    """

    outcomes: Mapping[Outcome, int]
    moved: Mapping[str, int]
    pending: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.outcomes.values())

    def of(self, outcome: Outcome) -> int:
        """How many of one *outcome*."""
        return self.outcomes.get(outcome, 0)


class Drain:
    """The clients of a node that does not want any.

    *interval*: seconds between two of those that the first look finds; *paced* is False if they,
    too, count as clients that came later. *uniform* returns a number from 0 to 1.
    """

    def __init__(
        self, interval: float, now: float, uniform: Callable[[], float], *, paced: bool = True
    ) -> None:
        self.clients: list[DrainedClient] = []
        self.counts: Counts | None = None
        """As of the last complete look."""
        self._uniform = uniform
        self._pace = Pace(interval, now, uniform)
        self._return_pace = Pace(min(interval, DEFAULT_INTERVAL), now, uniform)
        self._paced = paced
        self._look = 0
        self._by_session: dict[_Key, DrainedClient] = {}
        self._by_name: dict[bytes, list[DrainedClient]] = {}
        self._ending: dict[_Key, int] = {}  # of clients that are back already
        self._queue: deque[DrainedClient] = deque()
        self._later: list[tuple[float, int, DrainedClient]] = []  # a heap
        self._order = itertools.count()

    def reconfigure(self, interval: float, now: float) -> None:
        """Go on at another pace."""
        self._pace.reconfigure(interval, now)
        self._return_pace.reconfigure(min(interval, DEFAULT_INTERVAL), now)

    @property
    def is_finished(self) -> bool:
        """Whether nobody has to be waited for, as of the last look."""
        return self.counts is not None and not self.counts.pending

    @property
    def waiting(self) -> int:
        """How many of the paced ones were not sent on yet."""
        return len(self._queue)

    @property
    def deadline(self) -> float:
        """When `due` may return somebody, without another look."""
        first = self._pace.due_at if self._queue else math.inf
        later = max(self._later[0][0], self._return_pace.due_at) if self._later else math.inf
        return min(first, later)

    # -- looks --

    def begin_look(self) -> None:
        """All sessions of this host follow."""
        self._look += 1

    def see(self, instance: str, routes: Iterable[LocalRoute], now: float) -> None:
        """Some routes of the sessions of OpenVPN process *instance*."""
        for route in routes:
            key = (instance, route.session, route.name)
            client = self._by_session.get(key)
            if client is None:
                if key in self._ending:
                    self._ending[key] = self._look
                else:
                    self._connected(instance, route, now)
                continue
            client.seen_in = self._look
            if not client.here:
                self._is_listed_again(client, now)
            prefix = client.session.prefix
            if (not prefix.is_host or len(prefix.address) > 4) and _is_better(route, client):
                client.session = attrs.evolve(client.session, prefix=route.prefix)

    def end_look(self, now: float, elsewhere: Elsewhere) -> Iterator[None]:
        """Find out what became of whom. To be iterated to its end: other tasks may run between."""
        outcomes: Counter[Outcome] = Counter()
        moved: Counter[str] = Counter()
        pending = 0
        for number, client in enumerate(self.clients, 1):
            self._examine(client, now, elsewhere)
            outcome = client.outcome(now)
            outcomes[outcome] += 1
            pending += client.is_pending(outcome)
            if outcome is Outcome.MOVED:
                moved[client.moved_to] += 1
            if number % CHUNK_CLIENTS == 0:
                yield
        self._ending = {key: look for key, look in self._ending.items() if look == self._look}
        self._forget(now)
        self.counts = Counts(outcomes, moved, pending)

    def unfound(self, now: float) -> dict[bytes, DrainedClient]:
        """Clients that are nowhere at their addresses, by name, if only one has that name.

        Where each server has a pool of its own, a client gets another address.
        """
        found = {}
        for client in self.clients:
            at = client.last_sent_at
            if (
                at is not None
                and now >= at + SEARCHED_AFTER
                and not (client.here or client.moved_to)
            ):
                name = client.session.name
                if len(self._by_name[name]) == 1:
                    found[name] = client
        return found

    # -- sending on --

    def due(self, now: float) -> list[DrainedClient]:
        """The clients to send on now."""
        found: list[DrainedClient] = []
        while self._queue and len(found) < MAX_DUE:
            client = self._queue[0]
            if _is_to_be_sent(client) and not self._pace.take(now):
                break
            self._queue.popleft()
            if _is_to_be_sent(client):
                found.append(client)
        while self._later and self._later[0][0] <= now and len(found) < MAX_DUE:
            at, _, client = self._later[0]
            stale = at != client.due_at or not _is_to_be_sent(client)
            if not stale and not self._return_pace.take(now):
                break
            heapq.heappop(self._later)
            if not stale:
                found.append(client)
        return found

    def sent(self, client: DrainedClient, now: float) -> None:
        """OpenVPN was told to send *client* on."""
        client.sent_at = client.last_sent_at = now
        client.due_at, client.why_kept = math.inf, ""

    def kept(self, client: DrainedClient, why: str, now: float) -> None:
        """*client* cannot be sent on. It is tried again."""
        client.why_kept = why
        self._schedule(client, now + RETRY_DELAY)

    # --

    def _connected(self, instance: str, route: LocalRoute, now: float) -> None:
        """A session that was not there before."""
        session = LocalSession(instance, route.session, route.name, route.prefix)
        # not in the first look: thousands may share a name (duplicate-cn), and none has left yet
        client = None if self._look == 1 else self._former(session)
        if client is None:
            client = DrainedClient(session)
            self.clients.append(client)
            self._by_name.setdefault(route.name, []).append(client)
            if self._paced and self._look == 1:
                self._queue.append(client)
            else:
                self._schedule(client, now + self._stay(client))
        else:
            old = client.session.key
            del self._by_session[old]
            if client.here:
                self._ending[old] = self._look
            self._returned(client, session, now)
        client.here, client.seen_in = True, self._look
        self._by_session[session.key] = client

    def _is_listed_again(self, client: DrainedClient, now: float) -> None:
        """Its session was gone and is there again, after OpenVPN could not be asked for a while."""
        client.here, client.gone_at = True, None
        if client.sent_at is None:
            self._schedule(client, now + self._stay(client))

    def _former(self, session: LocalSession) -> DrainedClient | None:
        """The client that had an earlier session here, if *session* is its next one."""
        candidates = [
            client
            for client in self._by_name.get(session.name, ())
            if client.sent_at is not None or not client.here
        ]
        for client in candidates:
            if client.session.prefix == session.prefix:
                return client
        return next((client for client in candidates if not client.moved_to), None)

    def _returned(self, client: DrainedClient, session: LocalSession, now: float) -> None:
        if client.moved_to:
            client.moved_to, client.returns = "", 0
        client.session, client.gone_at, client.why_kept = session, None, ""
        client.returns += client.last_sent_at is not None
        client.sent_at = None
        self._schedule(client, now + self._stay(client))

    def _stay(self, client: DrainedClient) -> float:
        delay = client.return_delay()
        return delay + jitter(delay, self._uniform)

    def _schedule(self, client: DrainedClient, at: float) -> None:
        client.due_at = at
        heapq.heappush(self._later, (at, next(self._order), client))

    def _examine(self, client: DrainedClient, now: float, elsewhere: Elsewhere) -> None:
        if client.here and client.seen_in != self._look:
            client.here = False
            if client.sent_at is None:
                client.gone_at = now
        if client.moved_to or (client.here and client.sent_at is None):
            return
        client.moved_to = elsewhere(client.session)
        at = client.sent_at
        if client.here and not client.moved_to and at is not None and now >= at + LISTED_AFTER:
            client.sent_at, client.why_kept = None, _NOT_ENDED
            self._schedule(client, now)

    def _forget(self, now: float) -> None:
        surplus = len(self.clients) - MAX_CLIENTS
        if surplus <= 0:
            return
        kept = []
        for client in self.clients:
            if surplus > 0 and not client.here and not client.is_pending(client.outcome(now)):
                surplus -= 1
                self._by_session.pop(client.session.key, None)
                same_name = self._by_name[client.session.name]
                same_name.remove(client)
                if not same_name:
                    del self._by_name[client.session.name]
            else:
                kept.append(client)
        self.clients = kept


def _is_to_be_sent(client: DrainedClient) -> bool:
    return client.here and client.sent_at is None


def _is_better(route: LocalRoute, client: DrainedClient) -> bool:
    """Whether people know the client by this route rather: its IPv4 address, then its IPv6 one."""
    if route.kind is not Kind.CLIENT:
        return False
    return not client.session.prefix.is_host or len(route.prefix.address) == 4
