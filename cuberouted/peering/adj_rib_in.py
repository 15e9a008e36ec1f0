"""The routes received from one peer, and whether they are complete (BGP's adj-RIB-in).

A snapshot makes the table, updates of the same epoch keep it current. After a gap in the
sequence numbers, or in a new epoch, another snapshot is needed; the old routes are kept
until it is complete. Sans-IO.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.peering.events import PeerLimits, PeerUpdate, RoutesChanged, RoutesReplaced
from cuberouted.peering.messages import Heartbeat, SnapshotPart, Update, snapshot_topic

T = TypeVar("T")


class OverLimitError(Exception):
    """A peer advertises more than max_advertisements. The table is unchanged."""


class AdvertisementTable:
    """Advertisements of one peer, by prefix, as of (epoch, seq). Epoch None: no snapshot yet."""

    def __init__(self, limit: int, epoch: int | None = None, seq: int = 0) -> None:
        self.limit = limit
        self.epoch = epoch
        self.seq = seq
        self._by_prefix: dict[Prefix, Advertisement] = {}
        # Counted as they come and go, because a status is asked for every second.
        self._ipv4_clients = self._ipv6_clients = 0

    def __len__(self) -> int:
        return len(self._by_prefix)

    @property
    def clients(self) -> int:
        """The number of clients; one with an IPv4 and an IPv6 address counts once."""
        return max(self._ipv4_clients, self._ipv6_clients)

    def advertisements(self) -> tuple[Advertisement, ...]:
        """All advertisements."""
        return tuple(self._by_prefix.values())

    def apply(self, update: Update) -> None:
        """Apply *update*, which has this table's epoch and a later seq.

        Raises:
          OverLimitError: the table would exceed ``limit``. A table that already does, after
            the limit was lowered, still accepts withdrawals and replacements.
        """
        self._replace(update.advertise, update.withdraw)
        self.seq = update.seq

    def add(self, advertisements: Iterable[Advertisement]) -> None:
        """Add *advertisements*; each replaces an earlier one of its prefix.

        Raises:
          OverLimitError: the table would exceed ``limit``.
        """
        self._replace(advertisements, ())

    def _replace(self, advertise: Iterable[Advertisement], withdraw: Iterable[Prefix]) -> None:
        table = self._by_prefix
        new = {advertisement.prefix: advertisement for advertisement in advertise}
        removed = {p for p in withdraw if p in table and p not in new}
        added = sum(prefix not in table for prefix in new)
        size = len(table) + added - len(removed)
        if added and size > self.limit:
            raise OverLimitError(f"over limit: {size} prefixes, max_advertisements = {self.limit}")
        self._count(table.pop(prefix) for prefix in removed)
        if added < len(new):
            self._count(table[prefix] for prefix in new if prefix in table)
        table.update(new)
        self._count(new.values(), step=1)

    def _count(self, advertisements: Iterable[Advertisement], step: int = -1) -> None:
        for advertisement in advertisements:
            if advertisement.kind is Kind.CLIENT:
                if len(advertisement.prefix.address) == 4:
                    self._ipv4_clients += step
                else:
                    self._ipv6_clients += step


MAX_BACKOFF_FACTOR = 10
"""The retry interval of a snapshot request is multiplied by at most this."""


class SnapshotRequest:
    """Requests one snapshot at a time and assembles its parts. ``topic``: None if not requesting.
    ``unanswered``: requests before this one that did not bring a complete snapshot. ``timed_out``:
    all such requests since the start.

    *nonce*: returns fresh random bytes. *retry_interval*: seconds without progress until the
    snapshot is requested again; doubled after each request without an answer.
    """

    def __init__(self, nonce: Callable[[], bytes], retry_interval: float) -> None:
        self.retry_interval = retry_interval
        self.topic: bytes | None = None
        self.retry_at = math.inf
        self.unanswered = self.timed_out = 0
        self._nonce = nonce
        self._first: SnapshotPart | None = None
        self._next_index = 0
        self._table = AdvertisementTable(0)
        self._updated: set[Prefix] = set()

    def start(self, now: float) -> bytes:
        """Request a snapshot; return the topic to subscribe to. An earlier topic is void."""
        if self.topic is not None:
            self.unanswered += 1
            self.timed_out += 1
        self.topic = snapshot_topic(self._nonce())
        self._discard()
        self._restart_timer(now)
        return self.topic

    def cancel(self) -> bytes | None:
        """End the request; return the topic to unsubscribe from."""
        topic, self.topic = self.topic, None
        self.unanswered = 0
        self._discard()
        self.retry_at = math.inf
        return topic

    def add_part(
        self, topic: bytes, part: SnapshotPart, limit: int, now: float
    ) -> AdvertisementTable | None:
        """Add *part*; return the table if it is the last one.

        Raises:
          OverLimitError: the snapshot has more than *limit* prefixes; it is discarded.
        """
        if topic != self.topic or not self._continues(part):
            return None
        if self._first is None:
            self._first = part
            self._table = AdvertisementTable(limit, part.epoch, part.seq)
        self._next_index += 1
        self._restart_timer(now)
        advertisements: Iterable[Advertisement] = part.advertisements
        if self._updated:  # what an update has changed meanwhile is newer than the snapshot
            advertisements = [a for a in advertisements if a.prefix not in self._updated]
        self._change_table(self._table.add, advertisements)
        if self._next_index < part.count:
            return None
        complete = self._table
        self._discard()
        return complete

    def add_update(self, update: Update) -> None:
        """Apply *update*, which may come between the parts of a snapshot.

        Raises:
          OverLimitError: the snapshot would have too many prefixes; it is discarded.
        """
        table = self._table
        if self._first is None or update.epoch != table.epoch or update.seq <= table.seq:
            return
        if update.seq != table.seq + 1 or len(self._updated) > 2 * table.limit:
            self._discard()  # updates were lost, or a peer withdraws prefixes that it never had
            return
        self._change_table(table.apply, update)
        self._updated.update(update.withdraw, (a.prefix for a in update.advertise))

    def _continues(self, part: SnapshotPart) -> bool:
        if part.index == 0:
            self._discard()
        first = self._first or part
        fits = part.index == self._next_index and (
            (first.epoch, first.seq, first.count) == (part.epoch, part.seq, part.count)
        )
        if not fits:
            self._discard()
        return fits

    def _change_table(self, change: Callable[[T], None], argument: T) -> None:
        try:
            change(argument)
        except OverLimitError:
            self._discard()
            raise

    def _restart_timer(self, now: float) -> None:
        self.retry_at = now + self.retry_interval * min(1 << self.unanswered, MAX_BACKOFF_FACTOR)

    def _discard(self) -> None:
        self._first = None
        self._next_index = 0
        self._table = AdvertisementTable(0)
        self._updated = set()


class AdjRibIn:
    """The routes received from *peer*, and the request for a snapshot when they are incomplete.

    ``why``: what is missing, for people. ``stale_since``: when the peer began an epoch of which
    there is no snapshot yet (inf: it did not). ``over_limit``: messages that were dropped
    because of max_advertisements. ``gaps``: how often updates were lost. ``snapshots``: how many
    were complete.
    """

    def __init__(self, peer: str, limits: PeerLimits, nonce: Callable[[], bytes]) -> None:
        self.why = ""
        self.stale_since = math.inf
        self.over_limit = self.gaps = self.snapshots = 0
        self.table = AdvertisementTable(limits.max_advertisements)
        self.request = SnapshotRequest(nonce, limits.hold_time)
        self._peer = peer
        self._limit = limits.max_advertisements
        self._epoch: int | None = None
        self._updates_lost = False
        self._peer_syncing = False

    @property
    def in_sync(self) -> bool:
        """Whether the table is everything that the peer advertises."""
        return self._epoch == self.table.epoch and not self._updates_lost

    @property
    def snapshot_needed(self) -> bool:
        """Whether a snapshot is missing and the peer would answer a request for it."""
        return not self.in_sync and not self._peer_syncing

    def receive(
        self, topic: bytes, message: Update | Heartbeat | SnapshotPart, now: float
    ) -> tuple[PeerUpdate, ...]:
        """Handle *message*, received on *topic*; return what changes in the RIB."""
        self._note_epoch(message.epoch, now)
        try:
            match message:
                case Update():
                    return self._update(message)
                case Heartbeat():
                    return self._heartbeat(message)
                case SnapshotPart():
                    return self._part(topic, message, now)
        except OverLimitError as error:
            self.over_limit += 1
            self._need_snapshot(str(error))
            return ()

    def clear(self) -> None:
        """Empty the table. The peer's next message may start a new one."""
        self.table = AdvertisementTable(self._limit)
        self._updates_lost = False
        self.stale_since = math.inf

    def reset(self) -> bytes | None:
        """Empty the table and end the request; return the topic to unsubscribe from."""
        self.clear()
        self._epoch = None
        self._peer_syncing = False
        return self.request.cancel()

    def reconfigure(self, limits: PeerLimits) -> None:
        """Apply other *limits* from now on."""
        self._limit = self.table.limit = limits.max_advertisements
        self.request.retry_interval = limits.hold_time

    def _note_epoch(self, epoch: int, now: float) -> None:
        if epoch == self._epoch:
            return
        self._epoch = epoch
        self._updates_lost = self._peer_syncing = False
        self.why = "waiting for its snapshot"
        # Repeated restarts do not extend the life of the old routes.
        self.stale_since = min(self.stale_since, now)

    def _update(self, update: Update) -> tuple[PeerUpdate, ...]:
        self._peer_syncing = False
        self.request.add_update(update)
        last = self.table.seq
        if update.epoch != self.table.epoch or update.seq <= last:
            return ()
        self.table.apply(update)
        if update.seq != last + 1:
            self._note_gap(last + 1, update.seq - 1)
        return (RoutesChanged(self._peer, update.node, update.advertise, update.withdraw),)

    def _heartbeat(self, heartbeat: Heartbeat) -> tuple[PeerUpdate, ...]:
        if heartbeat.epoch != self.table.epoch:
            self._peer_syncing = heartbeat.syncing
            if heartbeat.syncing:
                self.why = "it has not listed all its clients yet"
        elif heartbeat.seq != self.table.seq and not self._updates_lost:
            self._note_gap(self.table.seq + 1, heartbeat.seq)
        return ()

    def _part(self, topic: bytes, part: SnapshotPart, now: float) -> tuple[PeerUpdate, ...]:
        self._peer_syncing = False
        complete = self.request.add_part(topic, part, self._limit, now)
        if complete is None:
            return ()
        self.snapshots += 1
        self.table = complete
        self._updates_lost = False
        self.stale_since = math.inf
        self.why = f"snapshot complete, prefixes: {len(self.table)}"
        return (RoutesReplaced(self._peer, part.node, self.table.advertisements()),)

    def _note_gap(self, first: int, last: int) -> None:
        self.gaps += 1
        self._need_snapshot(f"updates {first} to {last} were lost")

    def _need_snapshot(self, why: str) -> None:
        self._updates_lost = True
        self.why = why
