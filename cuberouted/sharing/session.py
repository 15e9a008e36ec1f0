"""What one peer has told us, and whether it is alive.

Sans-IO: messages, the state of the connection and ``now`` (monotonic seconds) go in; an
`Outcome` comes out: news for the RIB, topics to (un)subscribe, a change of state for the
log. This file knows nothing of sockets.

Drain what has come in with `receive` before `timer` judges a silence.
"""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Callable

from cuberouted.sharing.feed import PeerFeed
from cuberouted.sharing.messages import (
    NONCE_BYTES,
    AnyMessage,
    Goodbye,
    IncompatibleVersionError,
)
from cuberouted.sharing.news import (
    Learned,
    Lost,
    Moved,
    Outcome,
    PeerNews,
    PeerState,
    PeerStatus,
    Replaced,
    Terms,
)
from cuberouted.sharing.states import DOWN, NEXT, RESTARTING, UP, Sign

__all__ = [
    "Learned",
    "Lost",
    "Moved",
    "Outcome",
    "PeerNews",
    "PeerSession",
    "PeerState",
    "PeerStatus",
    "Replaced",
    "Terms",
]

random_nonce = functools.partial(secrets.token_bytes, NONCE_BYTES)


class PeerSession:
    """One peer.

    *peer*: its key in all that comes out. *name*: the node name that it has to announce;
    None (the article's form): whatever it announces. *taken*: whether another peer
    announces this name. *nonce*: gives `NONCE_BYTES` fresh random bytes.
    """

    def __init__(
        self,
        peer: str,
        name: str | None,
        own_name: str,
        terms: Terms,
        now: float,
        taken: Callable[[str], bool] = lambda _: False,
        nonce: Callable[[], bytes] = random_nonce,
    ) -> None:
        self.peer = peer
        self.node: str | None = None
        """The name that it announces; None before it was heard."""
        self.state = DOWN
        """What we make of the peer now."""
        self._name = name
        self._own_name = own_name
        self._taken = taken
        self._terms = terms
        self._feed = PeerFeed(peer, terms, nonce)
        self._detail = "not heard yet"
        self._link = ""
        self._malformed = 0
        self._refused = 0
        self._accepted: str | None = None
        self._refusing = False
        self._holds = True  # an earlier run of ours may have left routes to this peer
        self._listening_since = now
        self._heard_at = -math.inf
        self._leaving_since = math.inf

    @property
    def deadline(self) -> float:
        """When `timer` has something to judge, unless something is heard before."""
        return min(self._silent_at, self._stale_at, self._feed.request.retry_at)

    @property
    def refused(self) -> int:
        """How many of its messages were not used."""
        return self._malformed + self._refused + self._feed.over_limit

    @property
    def why(self) -> str:
        """What the last event was, in words."""
        return self._detail

    def receive(self, topic: bytes, message: AnyMessage, now: float) -> Outcome:
        """Take in a message that came on *topic*."""
        self.node, self._heard_at = message.node, now
        if message.node != self._accepted:
            refusal = self._why_refused(message.node)
            if refusal is not None:
                return self._refuse(refusal)
            self._accepted, self._refusing = message.node, False
        if isinstance(message, Goodbye):
            return self._leave(message, now)
        self._leaving_since = math.inf
        news = self._feed.take(topic, message, now)
        self._holds = self._holds or bool(news)
        return self._settle(news, now)

    def malformed(self, why: str) -> None:
        """Count a message that could not be read: *why*. It does not count as heard."""
        self._malformed += 1
        if self.state is DOWN:
            self._detail = f"its message could not be read: {why}"

    def incompatible(self, error: IncompatibleVersionError, now: float) -> Outcome:
        """It spoke another major version: its routes cannot be kept up, so they go."""
        self._refused += 1
        self._accepted, self.node, self._heard_at = None, error.node, now
        return self._lose(Sign.FOREIGN, str(error))

    def timer(self, now: float) -> Outcome:
        """Judge what is due at *now*; call again while `deadline` is not later."""
        if now >= self._silent_at:
            return self._lose(Sign.SILENT, self._why_silent())
        if now >= self._stale_at:
            return self._drop_stale()
        if now >= self._feed.request.retry_at:
            return self._ask(now)
        return Outcome()

    def was_deaf(self, now: float) -> None:
        """Until *now* we were stopped ourselves: silence is measured from here."""
        self._listening_since = now

    def connected(self) -> None:
        """The connection stands (again)."""
        self._link = ""

    def disconnected(self, why: str) -> None:
        """There is no connection; *why* in words. The peer has hold_time to be heard again."""
        self._link = why

    def reconfigure(self, terms: Terms) -> None:
        """Judge by other *terms* from now on."""
        self._terms = terms
        self._feed.reconfigure(terms)

    def status(self) -> PeerStatus:
        """The window for people and tests."""
        words = ("" if self.state is UP else self._detail, self._link)
        return PeerStatus(
            peer=self.peer,
            node=self.node,
            configured=self._name,
            state=self.state,
            last_heard=None if self._heard_at == -math.inf else self._heard_at,
            advertisements=len(self._feed.table),
            clients=self._feed.table.clients,
            refused=self.refused,
            detail="; ".join(filter(None, words)),
        )

    # Who it is.

    def _why_refused(self, node: str) -> str | None:
        if self._name is not None and node != self._name:
            return f"announces {node!r}, but is configured as {self._name!r}"
        if node == self._own_name:
            return f"announces our own name, {node!r}"
        if self._taken(node):
            return f"announces {node!r}, as another peer already does"
        return None

    def _refuse(self, why: str) -> Outcome:
        self._refused += 1
        self._accepted = None
        outcome = self._lose(Sign.REFUSED, why)
        first, self._refusing = not self._refusing, True
        if outcome.moved is None and first:  # a peer that was down is not down for that reason
            return Outcome(Moved(self.peer, DOWN, DOWN, why), news=outcome.news)
        return outcome

    # What follows.

    def _settle(self, news: tuple[PeerNews, ...], now: float) -> Outcome:
        """The state and the question that follow from a message taken in."""
        request = self._feed.request
        if self._feed.current:
            moved = self._move(Sign.CURRENT, self._feed.why)
            return Outcome(moved, _topics(request.cancel()), news=news)
        moved = self._move(Sign.BEHIND, self._feed.why)
        if not self._feed.to_ask:
            return Outcome(moved, _topics(request.cancel()), news=news)
        if request.topic is not None:
            return Outcome(moved, news=news)
        return Outcome(moved, subscribe=(request.ask(now),), news=news)

    def _leave(self, goodbye: Goodbye, now: float) -> Outcome:
        if not goodbye.restarting:
            return self._lose(Sign.GONE, "it said goodbye")
        self._leaving_since = now
        topic = self._feed.request.cancel()
        return Outcome(self._move(Sign.LEAVING, "it said that it restarts"), _topics(topic))

    def _ask(self, now: float) -> Outcome:
        old = self._feed.request.topic
        return Outcome(None, _topics(old), (self._feed.request.ask(now),))

    def _drop_stale(self) -> Outcome:
        """Its old routes have waited long enough; the peer itself is heard."""
        self._holds = False
        self._feed.clear()
        why = f"no snapshot since its restart {self._terms.restart_time:g} s ago"
        return Outcome(news=(Lost(self.peer, why),))

    def _lose(self, sign: Sign, why: str) -> Outcome:
        """Forget all it said."""
        news = (Lost(self.peer, why),) if self._holds else ()
        self._holds = False
        self._leaving_since = math.inf
        topic = self._feed.forget()
        return Outcome(self._move(sign, why), _topics(topic), news=news)

    def _move(self, sign: Sign, why: str) -> Moved | None:
        """The one door: every change of state goes through here."""
        old, self.state = self.state, NEXT[self.state, sign]
        self._detail = why
        return None if self.state is old else Moved(self.peer, old, self.state, why)

    # When.

    @property
    def _silent_at(self) -> float:
        if self.state is DOWN and not self._holds:
            return math.inf
        heard = max(self._heard_at, self._listening_since) + self._terms.hold_time
        if self.state is not RESTARTING:
            return heard
        return max(heard, self._leaving_since + self._terms.restart_time)

    @property
    def _stale_at(self) -> float:
        return self._feed.stale_since + self._terms.restart_time if self._holds else math.inf

    def _why_silent(self) -> str:
        if self.state is RESTARTING:
            return f"it did not come back within {self._terms.restart_time:g} s"
        return f"not heard for {self._terms.hold_time:g} s"


def _topics(topic: bytes | None) -> tuple[bytes, ...]:
    return () if topic is None else (topic,)
