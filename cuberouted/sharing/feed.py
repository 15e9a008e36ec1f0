"""How much of what a peer advertises has reached us, and what to ask for. Sans-IO.

One rule throughout: a snapshot makes the table, updates of the same epoch keep it, and
what is missing (a number skipped, another epoch) is asked for while the old routes stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cuberouted.sharing.messages import Heartbeat, SnapshotPart, Update
from cuberouted.sharing.news import Learned, PeerNews, Replaced, Terms
from cuberouted.sharing.request import SnapshotRequest
from cuberouted.sharing.table import OverLimitError, PeerTable

Content = Update | Heartbeat | SnapshotPart


class PeerFeed:
    """The table of *peer*, and how far it can be trusted.

    ``why``: what is missing, in words. ``stale_since``: when the table's epoch was found
    to be over (inf: it is not). ``over_limit``: messages lost to max_advertisements.
    """

    def __init__(self, peer: str, terms: Terms, nonce: Callable[[], bytes]) -> None:
        self.why = ""
        self.stale_since = math.inf
        self.over_limit = 0
        self.table = PeerTable(terms.max_advertisements)
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

    def take(self, topic: bytes, message: Content, now: float) -> tuple[PeerNews, ...]:
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

    def reconfigure(self, terms: Terms) -> None:
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

    def _update(self, update: Update) -> tuple[PeerNews, ...]:
        self._syncing = False
        last = self.table.seq
        if update.epoch != self.table.epoch or update.seq <= last:
            return ()
        self.table.apply(update)
        if update.seq != last + 1:
            self._lack(f"its updates {last + 1} to {update.seq - 1} were lost")
        return (Learned(self._peer, update.node, update.advertise, update.withdraw),)

    def _heartbeat(self, heartbeat: Heartbeat) -> tuple[PeerNews, ...]:
        if heartbeat.epoch != self.table.epoch:
            self._syncing = heartbeat.syncing
            if heartbeat.syncing:
                self.why = "it does not know all its clients yet"
        elif heartbeat.seq != self.table.seq and not self._lacking:
            self._lack(f"its updates {self.table.seq + 1} to {heartbeat.seq} were lost")
        return ()

    def _part(self, topic: bytes, part: SnapshotPart, now: float) -> tuple[PeerNews, ...]:
        self._syncing = False
        whole = self.request.take(topic, part, self.table.limit, now)
        if whole is None:
            return ()
        self.table.replace(part.epoch, part.seq, whole)
        self._lacking = False
        self.stale_since = math.inf
        self.why = f"complete, advertisements: {len(self.table)}"
        return (Replaced(self._peer, part.node, self.table.advertisements()),)

    def _lack(self, why: str) -> None:
        self._lacking = True
        self.why = why
