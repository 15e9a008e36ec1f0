"""Which requests of a peer are answered: each one once, and not too many. Pure.

A request is repeated until its reply arrives, because messages get lost. Its id tells a repetition
from a new request.
"""

from __future__ import annotations

import enum

import attrs

from cuberouted.peering.messages import AnyReply

MAX_PENDING = 16
"""Requests of one peer that are being answered at one time."""
MAX_REMEMBERED = 64
"""Replies to one peer that are remembered, to be sent once more; no more than MAX_TOKENS."""
MAX_TOKENS = 100.0
"""Requests of one peer that are handled at once, repetitions included; the rest is dropped."""
TOKENS_PER_SECOND = 10.0


class Verdict(enum.Enum):
    """What to do with a request to which nothing was replied yet."""

    ANSWER = "answer it"
    PENDING = "it is being answered"
    DROP = "too many requests: it will be repeated"


@attrs.define
class ReceivedRequests:
    """The requests of one peer. ``dropped``: how many were not handled."""

    dropped: int = 0
    _tokens: float = MAX_TOKENS
    _at: float = 0.0
    _pending: set[bytes] = attrs.field(factory=set, init=False)
    _replies: dict[bytes, AnyReply] = attrs.field(factory=dict, init=False)

    def receive(self, id_: bytes, now: float) -> AnyReply | Verdict:
        """Handle a request at *now* (monotonic seconds): the reply to send again, or a verdict."""
        self._tokens = min(self._tokens + (now - self._at) * TOKENS_PER_SECOND, MAX_TOKENS)
        self._at = now
        if self._tokens < 1.0:
            return self._drop()
        self._tokens -= 1.0
        if id_ in self._replies:
            return self._replies[id_]
        if id_ in self._pending:
            return Verdict.PENDING
        if len(self._pending) >= MAX_PENDING:
            return self._drop()
        self._pending.add(id_)
        return Verdict.ANSWER

    def answered(self, id_: bytes, reply: AnyReply | None) -> None:
        """The request was answered. None: it failed without a reply."""
        self._pending.discard(id_)
        if reply is None:
            return
        self._replies[id_] = reply
        if len(self._replies) > MAX_REMEMBERED:
            del self._replies[next(iter(self._replies))]  # the oldest

    def _drop(self) -> Verdict:
        self.dropped += 1
        return Verdict.DROP
