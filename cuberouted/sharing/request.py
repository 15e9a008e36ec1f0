"""Asking one peer for a snapshot: the topic, the parts so far, patience. Sans-IO.

The topic carries a nonce, so that an answer to an earlier question cannot be taken for
one to this. Parts come in order on one connection; a part out of order means that some
were lost, and then only asking again helps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cuberouted.model import Advertisement
from cuberouted.sharing.messages import SnapshotPart, snapshot_topic
from cuberouted.sharing.table import OverLimitError

MAX_PATIENCE = 10
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
        return self.wait * min(1 << self._vain, MAX_PATIENCE)

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
