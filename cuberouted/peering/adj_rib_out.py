"""The routes advertised to the peers, and the messages that carry them (BGP's adj-RIB-out).

Sans-IO. `Publisher` is given the frames received on the publishing socket, and returns the
messages to publish there, in order. Times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs
import msgspec

from cuberouted.model import Advertisement, NodeInfo, Prefix
from cuberouted.peering.events import Outgoing, PeerActions
from cuberouted.peering.messages import (
    PART_PREFIXES,
    UPDATES,
    AnyReply,
    AnyRequest,
    Direct,
    Goodbye,
    Heartbeat,
    SnapshotPart,
    Update,
    chunk_update,
    count_parts,
    direct_topic,
    encode,
    is_direct_topic,
    is_snapshot_topic,
)

MIN_GREETING_INTERVAL = 0.1
"""Seconds between two heartbeats that answer subscriptions, or publish a changed `NodeInfo`."""
MIN_SNAPSHOT_INTERVAL = 1.0
"""Seconds between the starts of two snapshots for the same peer."""
MIN_UNRECEIVED = 2
"""Connections in a row that ended before a peer had our snapshot; fewer are not reported."""
UNRECEIVED_TIME = 120.0
"""Seconds without another one after which they are forgotten."""
PARTS_PER_SLICE = 8
"""Parts of a snapshot that one call of `Publisher.timer` returns: some 5 ms of work."""


class _Snapshot:
    """All advertisements at one seq. Each part is encoded once, when it is first needed."""

    def __init__(
        self, node: str, epoch: int, seq: int, advertisements: tuple[Advertisement, ...]
    ) -> None:
        self.count = count_parts(len(advertisements))
        self._node = node
        self._epoch = epoch
        self._seq = seq
        self._advertisements = advertisements
        self._encoded: list[bytes] = []

    def part(self, index: int) -> bytes:
        while len(self._encoded) <= index:
            self._encoded.append(self._encode(len(self._encoded)))
        return self._encoded[index]

    def _encode(self, index: int) -> bytes:
        start = index * PART_PREFIXES
        return encode(
            SnapshotPart(
                node=self._node,
                epoch=self._epoch,
                seq=self._seq,
                index=index,
                count=self.count,
                advertisements=self._advertisements[start : start + PART_PREFIXES],
            )
        )


@attrs.define
class _Transfer:
    """A snapshot requested by one peer on ``topic``. ``snapshot`` is None until it begins."""

    topic: bytes
    due_at: float
    snapshot: _Snapshot | None = None
    next_part: int = 0


@attrs.define
class _Request:
    """What one peer has requested last. ``sent``: its snapshot was sent, at least in part.

    ``losses``: how often the connection ended thereafter, the last one at ``lost_at``.
    """

    topic: bytes
    losses: int = 0
    lost_at: float = -math.inf
    sent: bool = False


class Publisher:
    """Advertises this node's routes.

    *epoch*: a random number, another at each start. Until `initial_sync_done` the node may
    not know all its own clients: heartbeats say so, no update is published, and requests for
    snapshots wait.
    """

    def __init__(self, node: str, epoch: int, heartbeat_interval: float, now: float) -> None:
        self.ignored_frames = 0
        """Frames received that are neither a subscription of a peer nor an unsubscription."""
        self._node = node
        self._epoch = epoch
        self._seq = 0
        self._interval = heartbeat_interval
        self._advertised: dict[Prefix, Advertisement] = {}
        self._snapshot: _Snapshot | None = None  # None: changed since the last one
        self._syncing = True
        self._ended = False
        self._last_heartbeat = -math.inf
        self._heartbeat_at = now
        self._info = NodeInfo()
        self._info_at = math.inf  # when a heartbeat with it is due, whatever else is published
        self._transfers: dict[str, _Transfer] = {}
        self._last_snapshot: dict[str, float] = {}
        self._requests: dict[str, _Request] = {}
        self._direct_topics: dict[str, bytes] = {}

    @property
    def deadline(self) -> float:
        """When `timer` is due; in the past while parts of a snapshot remain to be sent."""
        if self._ended:
            return math.inf
        heartbeat_at = min(self._heartbeat_at, self._info_at)
        if self._syncing:
            return heartbeat_at
        return min([heartbeat_at, *(t.due_at for t in self._transfers.values())])

    @property
    def transfers(self) -> int:
        """How many peers wait for a snapshot, or for the rest of one."""
        return len(self._transfers)

    def unreceived(self, peer: str, now: float) -> int:
        """How many connections in a row ended before *peer* had our snapshot; 0 if too few."""
        request = self._requests.get(peer)
        if request is None or request.losses < MIN_UNRECEIVED:
            return 0
        return request.losses if now < request.lost_at + UNRECEIVED_TIME else 0

    def is_subscribed(self, peer: str) -> bool:
        """Whether *peer* is connected to our publishing socket, as far as ZeroMQ knows."""
        return peer in self._direct_topics

    def direct(self, node: str, id_: bytes, body: AnyRequest | AnyReply) -> PeerActions:
        """Send *body* to *node* alone; *id_*: see `Direct`. It may get lost."""
        if self._ended:
            return PeerActions()
        message = Direct(node=self._node, epoch=self._epoch, seq=self._seq, id=id_, body=body)
        return PeerActions(publish=(Outgoing(direct_topic(node), encode(message)),))

    def announce(
        self, advertise: Iterable[Advertisement], withdraw: Iterable[Prefix], now: float
    ) -> PeerActions:
        """Advertise and withdraw. A prefix in both is advertised; only changes are published."""
        wanted = {advertisement.prefix: advertisement for advertisement in advertise}
        new = {prefix: a for prefix, a in wanted.items() if self._advertised.get(prefix) != a}
        removed = [p for p in dict.fromkeys(withdraw) if p in self._advertised and p not in wanted]
        self._advertised.update(new)
        for prefix in removed:
            del self._advertised[prefix]
        if new or removed:
            self._snapshot = None
        if self._syncing or self._ended:
            return PeerActions()
        updates = [self._update(a, w, now) for a, w in chunk_update(new.values(), removed)]
        return PeerActions(publish=tuple(updates))

    def set_info(self, info: NodeInfo, now: float) -> PeerActions:
        """Publish *info* in heartbeats from now on.

        At once, if more than the number of clients has changed; that waits for a heartbeat interval
        at most. Updates meanwhile postpone neither.
        """
        if info == self._info:
            return PeerActions()
        only_clients = msgspec.structs.replace(self._info, clients=info.clients) == info
        interval = self._interval if only_clients else MIN_GREETING_INTERVAL
        self._info = info
        self._info_at = min(self._info_at, max(now, self._last_heartbeat + interval))
        return self.timer(now)

    def initial_sync_done(self, now: float) -> PeerActions:
        """All our own clients are known from now on; requests that wait are answered."""
        self._syncing = False
        self._heartbeat_at = now
        return self.timer(now)

    def receive(self, frame: bytes, peer: str | None, now: float) -> PeerActions:
        """Handle *frame*: 1 (subscribe) or 0 (unsubscribe), then a topic. Answers are due later.

        *peer*: the key of the authenticated sender. None: ZeroMQ made the frame up, to
        unsubscribe what a closed connection had subscribed to.
        """
        subscribe, topic = frame[:1] == b"\x01", frame[1:]
        if subscribe and peer is not None and topic == UPDATES:
            greeting_at = max(now, self._last_heartbeat + MIN_GREETING_INTERVAL)
            self._heartbeat_at = min(self._heartbeat_at, greeting_at)
        elif subscribe and peer is not None and is_snapshot_topic(topic):
            self._note_request(peer, topic, now)
            last = self._last_snapshot.get(peer, -math.inf)
            self._transfers[peer] = _Transfer(topic, max(now, last + MIN_SNAPSHOT_INTERVAL))
        elif subscribe and peer is not None and is_direct_topic(topic):
            self._direct_topics[peer] = topic
        elif frame[:1] == b"\x00":
            for key in [key for key, direct in self._direct_topics.items() if direct == topic]:
                del self._direct_topics[key]
            for key in [key for key, t in self._transfers.items() if t.topic == topic]:
                del self._transfers[key]
            # A peer unsubscribes from the last topic once it has the snapshot, or gives up.
            if peer is not None and peer in self._requests and self._requests[peer].topic == topic:
                del self._requests[peer]
        else:
            self.ignored_frames += 1
        return PeerActions()

    def timer(self, now: float) -> PeerActions:
        """A heartbeat if one is due, and up to `PARTS_PER_SLICE` parts of one peer's snapshot."""
        if self._ended:
            return PeerActions()
        due = now >= min(self._heartbeat_at, self._info_at)
        publish = [self._heartbeat(now)] if due else []
        if not self._syncing:
            peer = next((peer for peer, t in self._transfers.items() if now >= t.due_at), None)
            if peer is not None:
                publish += self._send_parts(peer, now)
        return PeerActions(publish=tuple(publish))

    def goodbye(self, *, restarting: bool) -> PeerActions:
        """Our last message. Nothing is published after it."""
        if self._ended:
            return PeerActions()
        self._ended = True
        message = Goodbye(node=self._node, epoch=self._epoch, seq=self._seq, restarting=restarting)
        return PeerActions(publish=(Outgoing(UPDATES, encode(message)),))

    def reconfigure(self, heartbeat_interval: float, now: float) -> None:
        """Use another heartbeat interval from now on."""
        self._interval = heartbeat_interval
        self._heartbeat_at = min(self._heartbeat_at, now + heartbeat_interval)

    def _note_request(self, peer: str, topic: bytes, now: float) -> None:
        # ZeroMQ repeats a subscription on each new connection: the last one has ended
        old = self._requests.get(peer)
        if old is None:
            self._requests[peer] = _Request(topic)
        elif old.topic != topic:
            self._requests[peer] = _Request(topic, old.losses, old.lost_at)
        elif old.sent:
            self._requests[peer] = _Request(topic, old.losses + 1, now)

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
        return Outgoing(UPDATES, encode(message))

    def _heartbeat(self, now: float) -> Outgoing:
        self._last_heartbeat, self._info_at = now, math.inf
        self._heartbeat_at = now + self._interval
        message = Heartbeat(
            node=self._node,
            epoch=self._epoch,
            seq=self._seq,
            syncing=self._syncing,
            info=self._info,
        )
        return Outgoing(UPDATES, encode(message))

    def _send_parts(self, peer: str, now: float) -> list[Outgoing]:
        transfer = self._transfers.pop(peer)
        if peer in self._requests:
            self._requests[peer].sent = True
        if transfer.snapshot is None:
            self._last_snapshot[peer] = now
            transfer.snapshot = self._current_snapshot()
        snapshot, first = transfer.snapshot, transfer.next_part
        transfer.next_part = min(first + PARTS_PER_SLICE, snapshot.count)
        if transfer.next_part < snapshot.count:
            self._transfers[peer] = transfer  # behind all others: each peer gets its turn
        return [
            Outgoing(transfer.topic, snapshot.part(index))
            for index in range(first, transfer.next_part)
        ]

    def _current_snapshot(self) -> _Snapshot:
        if self._snapshot is None:
            self._snapshot = _Snapshot(
                self._node, self._epoch, self._seq, tuple(self._advertised.values())
            )
        return self._snapshot
