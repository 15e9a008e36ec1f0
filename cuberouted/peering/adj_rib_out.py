"""Our own voice: what we advertise, and what to say to whom and when.

Sans-IO. This file knows nothing of sockets: it is given what came in on the publishing
socket, and returns (topic, payload) pairs to publish there, in order. ``now`` is in
monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from cuberouted.model import Advertisement, Prefix
from cuberouted.peering import messages
from cuberouted.peering.messages import (
    UPDATES,
    Goodbye,
    Heartbeat,
    SnapshotPart,
    Update,
    encode,
    is_snapshot_topic,
)

Outgoing = tuple[bytes, bytes]
"""A topic and a payload, to be published as they are."""

GREETING_PAUSE = 0.1
"""Seconds between two heartbeats that answer subscriptions."""
SNAPSHOT_PAUSE = 1.0
"""Seconds between two snapshots for the same peer."""


class Publisher:
    """What this node says.

    *epoch*: drawn at random at each start. Until `synced` the node does not know all its
    own clients: it says so in its heartbeats, publishes no update, and leaves the
    requests for snapshots waiting.
    """

    def __init__(self, node: str, epoch: int, heartbeat_interval: float, now: float) -> None:
        self.ignored = 0
        """Frames on the publishing socket that are none of a subscriber's business."""
        self._node = node
        self._epoch = epoch
        self._seq = 0
        self._interval = heartbeat_interval
        self._held: dict[Prefix, Advertisement] = {}
        self._encoded: list[bytes] | None = None
        self._syncing = True
        self._silent = False
        self._greeted_at = -math.inf
        self._heartbeat_at = now
        self._waiting: dict[str, bytes] = {}
        self._answered_at: dict[str, float] = {}

    @property
    def deadline(self) -> float:
        """When `timer` has something to say unless something is said before."""
        if self._silent:
            return math.inf
        return min([self._heartbeat_at, *(self._answer_at(peer) for peer in self._waiting)])

    @property
    def advertisements(self) -> int:
        """How many prefixes we advertise."""
        return len(self._held)

    def say(
        self, advertise: Iterable[Advertisement], withdraw: Iterable[Prefix], now: float
    ) -> list[Outgoing]:
        """Advertise and withdraw. A prefix in both is advertised; what is no change is not said."""
        stated = {advertisement.prefix: advertisement for advertisement in advertise}
        new = {prefix: a for prefix, a in stated.items() if self._held.get(prefix) != a}
        gone = [p for p in dict.fromkeys(withdraw) if p in self._held and p not in stated]
        self._held.update(new)
        for prefix in gone:
            del self._held[prefix]
        if new or gone:
            self._encoded = None
        if self._syncing or self._silent:
            return []
        return [self._update(a, w, now) for a, w in messages.chunk_update(new.values(), gone)]

    def synced(self, now: float) -> list[Outgoing]:
        """All our own clients are known from now on: tell everybody, and answer who waits."""
        self._syncing = False
        self._heartbeat_at = now
        return self.timer(now)

    def request(self, frame: bytes, peer: str | None, now: float) -> None:
        """Take in what a subscriber sent: *frame* begins with 1 (subscribe) or 0 (unsubscribe).

        *peer* is the admitted subscriber's key, None where nobody vouches for it (ZeroMQ
        makes up the unsubscriptions of a connection that has ended). What there is to
        answer is due at `deadline`.
        """
        wanted, topic = frame[:1] == b"\x01", frame[1:]
        if wanted and peer is not None and topic == UPDATES:
            self._heartbeat_at = min(
                self._heartbeat_at, max(now, self._greeted_at + GREETING_PAUSE)
            )
        elif wanted and peer is not None and is_snapshot_topic(topic):
            self._waiting[peer] = topic
        elif frame[:1] == b"\x00":
            self._forget(topic)
        else:
            self.ignored += 1

    def timer(self, now: float) -> list[Outgoing]:
        """What is due: a heartbeat, and at most one snapshot, so that the caller can yield."""
        if self._silent:
            return []
        said = [self._heartbeat(now)] if now >= self._heartbeat_at else []
        due = next((peer for peer in self._waiting if now >= self._answer_at(peer)), None)
        return said if due is None else said + self._snapshot(due, now)

    def goodbye(self, *, restarting: bool) -> list[Outgoing]:
        """Our last words; nothing is said after them."""
        if self._silent:
            return []
        self._silent = True
        message = Goodbye(node=self._node, epoch=self._epoch, seq=self._seq, restarting=restarting)
        return [(UPDATES, encode(message))]

    def reconfigure(self, heartbeat_interval: float, now: float) -> None:
        """Beat at another pace from now on."""
        self._interval = heartbeat_interval
        self._heartbeat_at = min(self._heartbeat_at, now + heartbeat_interval)

    def _answer_at(self, peer: str) -> float:
        if self._syncing:
            return math.inf
        return self._answered_at.get(peer, -math.inf) + SNAPSHOT_PAUSE

    def _update(
        self, advertise: tuple[Advertisement, ...], withdraw: tuple[Prefix, ...], now: float
    ) -> Outgoing:
        self._seq += 1
        self._heartbeat_at = now + self._interval
        message = Update(
            node=self._node,
            epoch=self._epoch,
            seq=self._seq,
            advertise=advertise,
            withdraw=withdraw,
        )
        return UPDATES, encode(message)

    def _heartbeat(self, now: float) -> Outgoing:
        self._greeted_at = now
        self._heartbeat_at = now + self._interval
        message = Heartbeat(
            node=self._node, epoch=self._epoch, seq=self._seq, syncing=self._syncing
        )
        return UPDATES, encode(message)

    def _snapshot(self, peer: str, now: float) -> list[Outgoing]:
        self._answered_at[peer] = now
        topic = self._waiting.pop(peer)
        if self._encoded is None:  # the same bytes for every peer that asks at this seq
            self._encoded = self._encode_snapshot()
        return [(topic, payload) for payload in self._encoded]

    def _encode_snapshot(self) -> list[bytes]:
        cut = messages.chunk_snapshot(self._held.values())
        return [
            encode(
                SnapshotPart(
                    node=self._node,
                    epoch=self._epoch,
                    seq=self._seq,
                    index=index,
                    count=len(cut),
                    advertisements=part,
                )
            )
            for index, part in enumerate(cut)
        ]

    def _forget(self, topic: bytes) -> None:
        for peer in [peer for peer, asked in self._waiting.items() if asked == topic]:
            del self._waiting[peer]
