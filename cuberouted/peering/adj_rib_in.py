"""How much of what a peer advertises has reached us, and what to ask for. Sans-IO.

One rule throughout: a snapshot makes the table, updates of the same epoch keep it, and
what is missing (a number skipped, another epoch) is asked for while the old routes stay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.peering.events import PeerLimits, PeerUpdate, RoutesChanged, RoutesReplaced
from cuberouted.peering.messages import Heartbeat, SnapshotPart, Update, snapshot_topic


class OverLimitError(Exception):
    """A peer advertises more than it may; the table is as it was."""


class AdvertisementTable:
    """The advertisements of one peer at (epoch, seq); epoch None: never had any."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.epoch: int | None = None
        self.seq = 0
        self._held: dict[Prefix, Advertisement] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def clients(self) -> int:
        """How many clients there are; one with an IPv4 and an IPv6 address counts once."""
        families = Counter(p.family for p, a in self._held.items() if a.kind is Kind.CLIENT)
        return max(families.values(), default=0)

    def advertisements(self) -> tuple[Advertisement, ...]:
        """All of them."""
        return tuple(self._held.values())

    def apply(self, update: Update) -> None:
        """Take in *update*, of this table's epoch and a later seq.

        Raises:
          OverLimitError: the table would hold more than ``limit``.
        """
        new = {advertisement.prefix: advertisement for advertisement in update.advertise}
        gone = {p for p in update.withdraw if p in self._held and p not in new}
        added = sum(prefix not in self._held for prefix in new)
        self._check(len(self._held) + added - len(gone), added)
        for prefix in gone:
            del self._held[prefix]
        self._held.update(new)
        self.seq = update.seq

    def replace(self, epoch: int, seq: int, advertisements: tuple[Advertisement, ...]) -> None:
        """Hold these instead.

        Raises:
          OverLimitError: they are more than ``limit``.
        """
        held = {advertisement.prefix: advertisement for advertisement in advertisements}
        self._check(len(held), len(held))
        self.epoch, self.seq, self._held = epoch, seq, held

    def clear(self) -> None:
        """Hold nothing, of no epoch."""
        self.epoch, self.seq, self._held = None, 0, {}

    def _check(self, size: int, added: int) -> None:
        if added and size > self.limit:
            raise OverLimitError(f"over limit: {size} prefixes, max_advertisements = {self.limit}")


MAX_BACKOFF_FACTOR = 10
"""How often the wait for progress may be multiplied, at most."""


class SnapshotRequest:
    """At most one question at a time; ``topic`` is None while there is none.

    *nonce*: gives fresh random bytes. *wait*: seconds without progress before asking again,
    twice as long after each vain question.
    """

    def __init__(self, nonce: Callable[[], bytes], wait: float) -> None:
        self.wait = wait
        self.topic: bytes | None = None
        self.retry_at = math.inf
        self._nonce = nonce
        self._vain = 0
        self._parts: list[SnapshotPart] = []
        self._size = 0

    def ask(self, now: float) -> bytes:
        """Ask, or ask anew; the topic to subscribe to. A topic asked on before is void."""
        if self.topic is not None:
            self._vain += 1
        self.topic = snapshot_topic(self._nonce())
        self._drop()
        self.retry_at = now + self._patience
        return self.topic

    def cancel(self) -> bytes | None:
        """Ask no more; the topic to unsubscribe from. Patience starts afresh."""
        topic, self.topic = self.topic, None
        self._vain = 0
        self._drop()
        self.retry_at = math.inf
        return topic

    def take(
        self, topic: bytes, part: SnapshotPart, limit: int, now: float
    ) -> tuple[Advertisement, ...] | None:
        """The whole snapshot, if *part* completes it.

        Raises:
          OverLimitError: there is more than *limit* of it; what came so far is dropped.
        """
        if topic != self.topic or not self._continues(part):
            return None
        self._parts.append(part)
        self._size += len(part.advertisements)
        self.retry_at = now + self._patience
        if self._size > limit:
            self._drop()
            raise OverLimitError(f"over limit: its snapshot has more than {limit} prefixes")
        if len(self._parts) < part.count:
            return None
        return tuple(a for p in self._parts for a in p.advertisements)

    @property
    def _patience(self) -> float:
        return self.wait * min(1 << self._vain, MAX_BACKOFF_FACTOR)

    def _continues(self, part: SnapshotPart) -> bool:
        if part.index == 0:
            self._drop()
        first = self._parts[0] if self._parts else part
        fits = (
            part.index == len(self._parts)
            and (first.epoch, first.seq, first.count) == (part.epoch, part.seq, part.count)
            and (part.count == 1 or len(part.advertisements) > 0)  # bounds the parts by the limit
        )
        if not fits:
            self._drop()
        return fits

    def _drop(self) -> None:
        self._parts = []
        self._size = 0


Content = Update | Heartbeat | SnapshotPart


class AdjRibIn:
    """The table of *peer*, and how far it can be trusted.

    ``why``: what is missing, in words. ``stale_since``: when the table's epoch was found
    to be over (inf: it is not). ``over_limit``: messages lost to max_advertisements.
    """

    def __init__(self, peer: str, terms: PeerLimits, nonce: Callable[[], bytes]) -> None:
        self.why = ""
        self.stale_since = math.inf
        self.over_limit = 0
        self.table = AdvertisementTable(terms.max_advertisements)
        self.request = SnapshotRequest(nonce, terms.hold_time)
        self._peer = peer
        self._epoch: int | None = None
        self._lacking = False
        self._syncing = False

    @property
    def current(self) -> bool:
        """Whether the table is all that the peer advertises."""
        return self._epoch == self.table.epoch and not self._lacking

    @property
    def to_ask(self) -> bool:
        """Whether a snapshot is missing and can be had."""
        return not self.current and not self._syncing

    def take(self, topic: bytes, message: Content, now: float) -> tuple[PeerUpdate, ...]:
        """The news in *message*."""
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
            self._lack(str(error))
            return ()

    def clear(self) -> None:
        """Forget the table; what the peer says from now on may start a new one."""
        self.table.clear()
        self._lacking = False
        self.stale_since = math.inf

    def forget(self) -> bytes | None:
        """Forget everything, ask for nothing; the topic to unsubscribe from."""
        self.clear()
        self._epoch = None
        self._syncing = False
        return self.request.cancel()

    def reconfigure(self, terms: PeerLimits) -> None:
        """Judge by other *terms* from now on."""
        self.table.limit = terms.max_advertisements
        self.request.wait = terms.hold_time

    def _note_epoch(self, epoch: int, now: float) -> None:
        if epoch == self._epoch:
            return
        self._epoch = epoch
        self._lacking = self._syncing = False
        self.why = "waiting for its snapshot"
        # A peer that restarts again and again does not earn its old routes more time.
        self.stale_since = min(self.stale_since, now)

    def _update(self, update: Update) -> tuple[PeerUpdate, ...]:
        self._syncing = False
        last = self.table.seq
        if update.epoch != self.table.epoch or update.seq <= last:
            return ()
        self.table.apply(update)
        if update.seq != last + 1:
            self._lack(f"its updates {last + 1} to {update.seq - 1} were lost")
        return (RoutesChanged(self._peer, update.node, update.advertise, update.withdraw),)

    def _heartbeat(self, heartbeat: Heartbeat) -> tuple[PeerUpdate, ...]:
        if heartbeat.epoch != self.table.epoch:
            self._syncing = heartbeat.syncing
            if heartbeat.syncing:
                self.why = "it does not know all its clients yet"
        elif heartbeat.seq != self.table.seq and not self._lacking:
            self._lack(f"its updates {self.table.seq + 1} to {heartbeat.seq} were lost")
        return ()

    def _part(self, topic: bytes, part: SnapshotPart, now: float) -> tuple[PeerUpdate, ...]:
        self._syncing = False
        whole = self.request.take(topic, part, self.table.limit, now)
        if whole is None:
            return ()
        self.table.replace(part.epoch, part.seq, whole)
        self._lacking = False
        self.stale_since = math.inf
        self.why = f"complete, advertisements: {len(self.table)}"
        return (RoutesReplaced(self._peer, part.node, self.table.advertisements()),)

    def _lack(self, why: str) -> None:
        self._lacking = True
        self.why = why
