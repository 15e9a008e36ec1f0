"""When to send which query to OpenVPN. Pure.

``load-stats`` returns the number of clients and costs OpenVPN nothing, so it is sent often. A
listing of 20,000 clients is 2.5 MB from a single-threaded process. So listings are requested
when something has changed, when the number of clients changed, and every status_interval; they
take at most a tenth of OpenVPN's time, unless one takes longer than status_interval allows for.
One query is pending at a time.
"""

from __future__ import annotations

import enum
from math import inf

import attrs

LISTING_PAUSE_FACTOR = 9
"""After a listing that took T seconds the next one waits for 9 T, but at most status_interval:
an OpenVPN that was stopped during a listing would otherwise not be listed for minutes."""

CONFIRM_DELAY = 0.005
"""Seconds between an event and the listing that confirms it. Meanwhile OpenVPN sends the client
its configuration and we send the route to the peers. No longer, because IPv6 addresses are known
from listings only."""

ANSWER_TIMEOUT = 5.0
"""Seconds without a byte while a query is pending: OpenVPN is silent."""

LISTING_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: the bounds of the histogram of listings."""

GHOSTS_INTERVAL = 60.0
"""Least seconds between two listings that nothing asks for, where each can leave clients in the
list that have gone (`omissions.has_ghosts`)."""


@attrs.frozen
class PollIntervals:
    """Seconds between two counts of the clients, and between two listings; and how long the
    sessions of an OpenVPN that has gone are kept.
    """

    poll_interval: float
    status_interval: float
    hold_time: float


class Query(enum.Enum):
    """What OpenVPN is asked for."""

    COUNT = "count"
    LISTING = "listing"


@attrs.define
class Polling:
    """The schedule of one connection. All times are monotonic seconds.

    ``poll_interval`` and ``status_interval``: see `PollIntervals`.
    """

    poll_interval: float
    status_interval: float
    leaves_ghosts: bool = attrs.field(default=False, init=False)
    """Whether each listing can leave clients in OpenVPN's list that have gone."""
    silent: bool = attrs.field(default=False, init=False)
    """Whether a query is pending and OpenVPN has sent nothing for ANSWER_TIMEOUT."""
    _pending: Query | None = attrs.field(default=None, init=False)
    sent_at: float = attrs.field(default=-inf, init=False)
    """When the last query was sent."""
    _received_at: float = attrs.field(default=-inf, init=False)
    _count_at: float = attrs.field(default=-inf, init=False)
    _listing_at: float = attrs.field(default=-inf, init=False)
    _not_before: float = attrs.field(default=-inf, init=False)  # see LISTING_PAUSE_FACTOR
    _count: int | None = attrs.field(default=None, init=False)
    _failures: int = attrs.field(default=0, init=False)

    def reconfigure(self, poll_interval: float, status_interval: float, now: float) -> None:
        """Use other intervals from *now* on. What was due later than they say comes earlier."""
        self.poll_interval, self.status_interval = poll_interval, status_interval
        self.list_at(now + self._listing_interval)
        self._count_at = min(self._count_at, now + poll_interval)
        self._not_before = min(self._not_before, now + status_interval)

    def list_now(self) -> None:
        """Request a listing as soon as LISTING_PAUSE_FACTOR allows, even if one is pending."""
        self._listing_at = -inf

    def list_soon(self, now: float) -> None:
        """Request a listing after CONFIRM_DELAY: an event was applied that it has to confirm."""
        self.list_at(now + CONFIRM_DELAY)

    def list_at(self, when: float) -> None:
        """Request a listing at *when*, unless one comes earlier."""
        self._listing_at = min(self._listing_at, when)

    def count_now(self) -> None:
        """Count the clients at once."""
        self._count_at = -inf

    def reset(self) -> None:
        """Request a listing at once, because OpenVPN has just been restarted."""
        self._not_before, self._failures = -inf, 0
        self.list_now()

    @property
    def deadline(self) -> float:
        """When `timer` is due, if nothing is received before."""
        if self._pending is not None:
            return inf if self.silent else self._received_at + ANSWER_TIMEOUT
        return min(max(self._listing_at, self._not_before), self._count_at)

    def timer(self, now: float) -> Query | None:
        """The query to send at *now*; it is pending until `answered`."""
        if self._pending is not None:
            self.silent = now >= self._received_at + ANSWER_TIMEOUT
            return None
        if max(self._listing_at, self._not_before) <= now:
            self._pending, self._listing_at = Query.LISTING, now + self._listing_interval
        elif self._count_at <= now:
            self._pending = Query.COUNT
        if self._pending is not None:
            self.sent_at = self._received_at = now
            self._count_at = now + self.poll_interval
        return self._pending

    @property
    def count(self) -> int | None:
        """How many clients OpenVPN has counted last, or None while unknown."""
        return self._count

    @property
    def _listing_interval(self) -> float:
        return max(self.status_interval, GHOSTS_INTERVAL if self.leaves_ghosts else 0.0)

    def received(self, now: float) -> None:
        """OpenVPN has sent something."""
        self._received_at = now
        self.silent = False

    def answered(self, now: float, count: int | None, *, listed: bool) -> None:
        """The pending query is answered. Every query ends with a count of the clients.

        ``load-stats`` is sent right behind ``status 3``, because its answer shows where a
        listing was cut short. *listed*: a complete listing came first.
        """
        if self._pending is Query.LISTING:
            pause = LISTING_PAUSE_FACTOR * (now - self.sent_at)
            self._not_before = now + min(pause, self.status_interval)
            self._failures = 0 if listed else self._failures + 1
        elif count != self._count:
            self.list_now()
        if self._failures and self._pending is Query.LISTING:
            # a failed listing is repeated, later each time, up to the status interval
            retry = self.poll_interval * 2 ** min(self._failures - 1, 16)
            self._not_before = max(self._not_before, now + min(retry, self.status_interval))
            self.list_now()
        self._pending, self._count = None, count
