"""When to ask OpenVPN what: its count of clients often, a whole listing when it may differ.

``load-stats`` costs OpenVPN nothing; a listing of 20,000 clients is 2.5 MB from a
single-threaded process. So listings are for hints, for a count that changed, and for every
status_interval; and they take at most a tenth of OpenVPN's time, unless one takes longer than
status_interval allows for. One question at a time.
"""

from __future__ import annotations

import enum
from math import inf

import attrs


@attrs.frozen
class PollIntervals:
    """Seconds between two counts of the clients and between two listings of all of them, and
    until the clients of an OpenVPN that has gone are withdrawn.
    """

    poll_interval: float
    status_interval: float
    hold_time: float


LISTING_DUTY = 9
"""After a listing, so many times what it took passes before the next, but no longer than
status_interval: an OpenVPN that was stopped in the middle of one would go unlisted for minutes."""

CONFIRM_DELAY = 0.005
"""Seconds before a listing confirms what an event told: first OpenVPN sends that client its
configuration, and we tell the peers. No longer, for IPv6 addresses are known by listings."""

ANSWER_TIMEOUT = 5.0
"""Seconds without a byte while a question is open: OpenVPN is silent."""


class Query(enum.Enum):
    """What can be asked."""

    COUNT = "count"
    LISTING = "listing"


@attrs.define
class Polling:
    """The timetable of one connection. Times are monotonic seconds.

    ``poll_interval`` and ``status_interval`` are seconds between counts, and listings.
    """

    poll_interval: float
    status_interval: float
    _open: Query | None = attrs.field(default=None, init=False)
    _asked_at: float = attrs.field(default=-inf, init=False)
    _heard_at: float = attrs.field(default=-inf, init=False)
    _count_at: float = attrs.field(default=-inf, init=False)  # when to ask next
    _listing_at: float = attrs.field(default=-inf, init=False)
    _not_before: float = attrs.field(default=-inf, init=False)  # the listings' share is used up
    _count: int | None = attrs.field(default=None, init=False)
    _failures: int = attrs.field(default=0, init=False)

    def list_now(self) -> None:
        """Something changed, or may have: list as soon as listings' share of time allows.

        A hint that comes while a listing is under way asks for another one.
        """
        self._listing_at = -inf

    def list_soon(self, now: float) -> None:
        """Something changed, and was acted on: list soon, but before that there is more to do."""
        self._listing_at = min(self._listing_at, now + CONFIRM_DELAY)

    def reset(self) -> None:
        """OpenVPN has just started anew: list at once, whatever failed before."""
        self._not_before, self._failures = -inf, 0
        self.list_now()

    def count_now(self) -> None:
        """Something may have changed, but is not worth a listing: count."""
        self._count_at = -inf

    def ask(self, now: float) -> Query | None:
        """What is to be asked now; it is then open until `answered`."""
        if self._open is not None:
            return None
        if max(self._listing_at, self._not_before) <= now:
            self._open, self._listing_at = Query.LISTING, now + self.status_interval
        elif self._count_at <= now:
            self._open = Query.COUNT
        if self._open is not None:
            self._asked_at = self._heard_at = now
            self._count_at = now + self.poll_interval
        return self._open

    def heard(self, now: float) -> None:
        """Bytes came from OpenVPN, of whatever kind."""
        self._heard_at = now

    def answered(self, now: float, count: int | None, *, listed: bool) -> None:
        """The open question has its answer: the count that every question ends with.

        ``load-stats`` goes right behind ``status 3``: its answer shows where a listing was
        cut short. *listed*: a complete listing came before it. One that failed is asked for
        again after the poll interval, later each time, and at the status interval in the end.
        """
        if self._open is Query.LISTING:
            self._not_before = now + min(
                LISTING_DUTY * (now - self._asked_at), self.status_interval
            )
            self._failures = 0 if listed else self._failures + 1
        elif count != self._count:
            self.list_now()
        if self._failures and self._open is Query.LISTING:
            again = self.poll_interval * 2 ** min(self._failures - 1, 16)
            self._not_before = max(self._not_before, now + min(again, self.status_interval))
            self.list_now()
        self._open, self._count = None, count

    def silent(self, now: float) -> bool:
        """Whether OpenVPN owes an answer, and has said nothing for too long."""
        return self._open is not None and now >= self._heard_at + ANSWER_TIMEOUT

    def next_wakeup(self, now: float) -> float:
        """When `ask` or `silent` next may answer otherwise, nothing being heard until then."""
        if self._open is not None:
            due = self._heard_at + ANSWER_TIMEOUT
            return due if due > now else inf
        return min(max(self._listing_at, self._not_before), self._count_at)
