"""What one peer has told us, and whether it is alive.

Sans-IO: messages, the state of the connection and ``now`` (monotonic seconds) go in; an
`Outcome` comes out: news for the RIB, topics to (un)subscribe, a change of state for the
log. This file knows nothing of sockets.

Drain what has come in with `receive` before `timer` judges a silence.
"""

from __future__ import annotations

import enum
import functools
import math
import secrets
from collections.abc import Callable

from cuberouted.peering.adj_rib_in import AdjRibIn
from cuberouted.peering.events import (
    PeerLimits,
    PeerLost,
    PeerState,
    PeerStatus,
    PeerUpdate,
    SessionActions,
    StateChange,
)
from cuberouted.peering.messages import NONCE_BYTES, AnyMessage, Goodbye, IncompatibleVersionError

DOWN, SYNCING, UP, RESTARTING, INCOMPATIBLE = PeerState


class PeerEvent(enum.StrEnum):
    """What an event means for the state."""

    BEHIND = "heard, and its table is not complete or not current"
    CURRENT = "heard, and its table is complete and current"
    LEAVING = "said that it restarts"
    GONE = "said goodbye"
    SILENT = "not heard for too long"
    REFUSED = "not whom it should be"
    FOREIGN = "speaks another version"


NEXT = {
    **{(state, PeerEvent.BEHIND): SYNCING for state in PeerState},
    **{(state, PeerEvent.CURRENT): UP for state in (SYNCING, UP, RESTARTING)},
    **{(state, PeerEvent.LEAVING): RESTARTING for state in PeerState},
    **{(state, PeerEvent.GONE): DOWN for state in PeerState},
    **{(state, PeerEvent.SILENT): DOWN for state in PeerState},
    **{(state, PeerEvent.REFUSED): DOWN for state in PeerState},
    **{(state, PeerEvent.FOREIGN): INCOMPATIBLE for state in PeerState},
}
"""A peer that was down or incompatible has no table, so CURRENT in those states is our bug."""


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
        terms: PeerLimits,
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
        self._limits = terms
        self._feed = AdjRibIn(peer, terms, nonce)
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

    def receive(self, topic: bytes, message: AnyMessage, now: float) -> SessionActions:
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
        return self._apply(news, now)

    def malformed(self, why: str) -> None:
        """Count a message that could not be read: *why*. It does not count as heard."""
        self._malformed += 1
        if self.state is DOWN:
            self._detail = f"its message could not be read: {why}"

    def incompatible(self, error: IncompatibleVersionError, now: float) -> SessionActions:
        """It spoke another major version: its routes cannot be kept up, so they go."""
        self._refused += 1
        self._accepted, self.node, self._heard_at = None, error.node, now
        return self._lose(PeerEvent.FOREIGN, str(error))

    def timer(self, now: float) -> SessionActions:
        """Judge what is due at *now*; call again while `deadline` is not later."""
        if now >= self._silent_at:
            return self._lose(PeerEvent.SILENT, self._why_silent())
        if now >= self._stale_at:
            return self._drop_stale()
        if now >= self._feed.request.retry_at:
            return self._ask(now)
        return SessionActions()

    def clock_stalled(self, now: float) -> None:
        """Until *now* we were stopped ourselves: silence is measured from here."""
        self._listening_since = now

    def connected(self) -> None:
        """The connection stands (again)."""
        self._link = ""

    def disconnected(self, why: str) -> None:
        """There is no connection; *why* in words. The peer has hold_time to be heard again."""
        self._link = why

    def reconfigure(self, terms: PeerLimits) -> None:
        """Judge by other *terms* from now on."""
        self._limits = terms
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

    def _refuse(self, why: str) -> SessionActions:
        self._refused += 1
        self._accepted = None
        outcome = self._lose(PeerEvent.REFUSED, why)
        first, self._refusing = not self._refusing, True
        if outcome.moved is None and first:  # a peer that was down is not down for that reason
            return SessionActions(StateChange(self.peer, DOWN, DOWN, why), news=outcome.news)
        return outcome

    # What follows.

    def _apply(self, news: tuple[PeerUpdate, ...], now: float) -> SessionActions:
        """The state and the question that follow from a message taken in."""
        request = self._feed.request
        if self._feed.current:
            moved = self._move(PeerEvent.CURRENT, self._feed.why)
            return SessionActions(moved, _topics(request.cancel()), news=news)
        moved = self._move(PeerEvent.BEHIND, self._feed.why)
        if not self._feed.to_ask:
            return SessionActions(moved, _topics(request.cancel()), news=news)
        if request.topic is not None:
            return SessionActions(moved, news=news)
        return SessionActions(moved, subscribe=(request.ask(now),), news=news)

    def _leave(self, goodbye: Goodbye, now: float) -> SessionActions:
        if not goodbye.restarting:
            return self._lose(PeerEvent.GONE, "it said goodbye")
        self._leaving_since = now
        topic = self._feed.request.cancel()
        return SessionActions(
            self._move(PeerEvent.LEAVING, "it said that it restarts"), _topics(topic)
        )

    def _ask(self, now: float) -> SessionActions:
        old = self._feed.request.topic
        return SessionActions(None, _topics(old), (self._feed.request.ask(now),))

    def _drop_stale(self) -> SessionActions:
        """Its old routes have waited long enough; the peer itself is heard."""
        self._holds = False
        self._feed.clear()
        why = f"no snapshot since its restart {self._limits.restart_time:g} s ago"
        return SessionActions(news=(PeerLost(self.peer, why),))

    def _lose(self, sign: PeerEvent, why: str) -> SessionActions:
        """Forget all it said."""
        news = (PeerLost(self.peer, why),) if self._holds else ()
        self._holds = False
        self._leaving_since = math.inf
        topic = self._feed.forget()
        return SessionActions(self._move(sign, why), _topics(topic), news=news)

    def _move(self, sign: PeerEvent, why: str) -> StateChange | None:
        """The one door: every change of state goes through here."""
        old, self.state = self.state, NEXT[self.state, sign]
        self._detail = why
        return None if self.state is old else StateChange(self.peer, old, self.state, why)

    # When.

    @property
    def _silent_at(self) -> float:
        if self.state is DOWN and not self._holds:
            return math.inf
        heard = max(self._heard_at, self._listening_since) + self._limits.hold_time
        if self.state is not RESTARTING:
            return heard
        return max(heard, self._leaving_since + self._limits.restart_time)

    @property
    def _stale_at(self) -> float:
        return self._feed.stale_since + self._limits.restart_time if self._holds else math.inf

    def _why_silent(self) -> str:
        if self.state is RESTARTING:
            return f"it did not come back within {self._limits.restart_time:g} s"
        return f"not heard for {self._limits.hold_time:g} s"


def _topics(topic: bytes | None) -> tuple[bytes, ...]:
    return () if topic is None else (topic,)
