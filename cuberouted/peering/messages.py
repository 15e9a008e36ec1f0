"""The messages that nodes exchange, and their encoding.

A message has two frames: a topic, and a msgpack array that begins with the message's tag, the
protocol version and the sender's node name. That head is the same in every version, so that
a node can always name a peer whose version it does not support. Fields that a later minor
version appends are ignored.

Updates, heartbeats and goodbyes are published on the topic ``u``. Snapshots follow the
ZeroMQ guide's Clone pattern, on one socket instead of three: a subscriber asks for a snapshot
by subscribing to a topic with a fresh nonce, receives it there, and applies the updates with
a higher sequence number that arrive meanwhile.

Requests to one node, and its replies, are `Direct` messages. Each is published on a topic with the
receiver's name, to which only the receiver subscribes.

Pure: bytes in, values out. `decode` validates everything that a peer sent; no other module
checks it again.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated

import msgspec

from cuberouted.model import (
    MAX_ADVERTISEMENTS,
    Advertisement,
    Fingerprint,
    Kind,
    NodeInfo,
    Prefix,
)
from cuberouted.util.decoding import DECODE_ERRORS

PROTOCOL_VERSION = 1
MAX_MESSAGE = 256 * 1024
"""Bytes of a message that is accepted."""

UPDATES = b"u"
SNAPSHOT = b"s/"
NONCE_BYTES = 8
"""The same for every snapshot topic, because ZeroMQ matches subscriptions by prefix."""

DIRECT = b"d/"
ID_BYTES = 8
MAX_CLIENT_IDS = 1000
"""Client ids in one reply to a request to end sessions."""
NONCE_OF_DIGESTS = 16
MAX_FINGERPRINTS = 160
"""Of 40 OpenVPN processes. With `MAX_DIGESTS` and the longest reasons they fit a message."""

Count = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
NodeName = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
"""The same rule as for names in the configuration: a name is logged and shown unescaped."""


class Message(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The head of every message.

    ``epoch``: a random number, chosen when the node starts. ``seq``: the number of the
    update, counted from 1; in other messages the number of the last update before them.
    """

    version: int = PROTOCOL_VERSION
    node: NodeName
    epoch: Count
    seq: Count


class Update(Message, frozen=True, array_like=True, kw_only=True, tag="u", gc=False):
    """Each advertisement replaces an earlier one of the same prefix.

    A prefix in both ``advertise`` and ``withdraw`` is advertised.
    """

    advertise: tuple[Advertisement, ...] = ()
    withdraw: tuple[Prefix, ...] = ()


class Heartbeat(Message, frozen=True, array_like=True, kw_only=True, tag="h"):
    """No change of routes. ``syncing``: the node has not listed all its own clients yet."""

    syncing: bool
    info: NodeInfo = NodeInfo()


class Goodbye(Message, frozen=True, array_like=True, kw_only=True, tag="g"):
    """The node's last message. ``restarting``: its routes stay valid for restart_time."""

    restarting: bool


class SnapshotPart(Message, frozen=True, array_like=True, kw_only=True, tag="s", gc=False):
    """Part ``index`` (from 0) of ``count``: together, all advertisements of the node at ``seq``."""

    index: Count
    count: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    advertisements: tuple[Advertisement, ...]


class Body(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a `Direct` message contains: a request, or the reply to one."""


class DisconnectRequest(Body, frozen=True, array_like=True, kw_only=True, tag="disconnect"):
    """End all sessions of the client with this common name. ``by``: the user who wants it."""

    client: Annotated[bytes, msgspec.Meta(min_length=1, max_length=512)]
    by: Annotated[str, msgspec.Meta(max_length=200)]


class Outcome(enum.StrEnum):
    """ENDED: all sessions that were found. NOT_FOUND: nobody has that name. REFUSED: not allowed.
    FAILED: sessions are left, or it is not known.
    """

    ENDED = "ended"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    FAILED = "failed"


class DisconnectReply(Body, frozen=True, array_like=True, kw_only=True, tag="disconnected"):
    """``client_ids``: of the sessions that were ended; -1 where OpenVPN has none (2.3).

    ``why``: a clause for people, empty for ENDED and NOT_FOUND.
    """

    outcome: Outcome
    client_ids: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=-1, lt=2**62)], ...],
        msgspec.Meta(max_length=MAX_CLIENT_IDS),
    ] = ()
    why: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class FactsRequest(Body, frozen=True, array_like=True, kw_only=True, tag="facts?"):
    """What the other side sees of us, and has. ``nonce``: the key of all digests of its files."""

    nonce: Annotated[bytes, msgspec.Meta(min_length=NONCE_OF_DIGESTS, max_length=NONCE_OF_DIGESTS)]


class FactsReply(Body, frozen=True, array_like=True, kw_only=True, tag="facts"):
    """``cuberouted``: its version. ``received_at``, ``sent_at``: of request and reply, in Unix
    microseconds of its clock. ``state``, ``detail``: of the node that asks, as it sees it. ``mtu``:
    of its interface to us, 0 if unknown. ``fingerprints``: of its OpenVPN processes.
    """

    cuberouted: Annotated[str, msgspec.Meta(max_length=50)]
    received_at: Count
    sent_at: Count
    state: Annotated[str, msgspec.Meta(max_length=20)]
    detail: Annotated[str, msgspec.Meta(max_length=1000)]
    mtu: Count
    fingerprints: Annotated[tuple[Fingerprint, ...], msgspec.Meta(max_length=MAX_FINGERPRINTS)] = ()


AnyRequest = DisconnectRequest | FactsRequest
AnyReply = DisconnectReply | FactsReply


class Direct(Message, frozen=True, array_like=True, kw_only=True, tag="d"):
    """A request to one node, or a reply. ``id``: random, the same in both and in repetitions."""

    id: Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
    body: AnyRequest | AnyReply


AnyMessage = Update | Heartbeat | Goodbye | SnapshotPart | Direct


class MessageError(Exception):
    """A message from a peer cannot be used."""


class MalformedMessageError(MessageError):
    """Not a message of this protocol."""


class IncompatibleVersionError(MessageError):
    """A message of another major version: ``version`` and ``node`` are those in its head."""

    def __init__(self, version: int, node: str) -> None:
        super().__init__(f"uses protocol version {version}, this node uses {PROTOCOL_VERSION}")
        self.version = version
        self.node = node


class _Head(msgspec.Struct, array_like=True):
    tag: str
    version: int
    node: NodeName


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)
_head_decoder = msgspec.msgpack.Decoder(_Head)


def encode(message: AnyMessage) -> bytes:
    """Encode *message* as the second frame, the payload."""
    return _encoder.encode(message)


def decode(frames: Sequence[bytes]) -> AnyMessage:
    """Decode and validate *frames*: topic and payload.

    Raises:
      IncompatibleVersionError: a message of another protocol version.
      MalformedMessageError: any other frames that are not a valid message.
    """
    if len(frames) != 2:
        raise MalformedMessageError(f"{len(frames)} frames, expected 2")
    topic, payload = frames
    if len(payload) > MAX_MESSAGE:
        raise MalformedMessageError(f"{len(payload)} bytes, limit {MAX_MESSAGE}")
    try:
        message = _decoder.decode(payload)
    except DECODE_ERRORS as error:
        raise _decode_error(payload, error) from None
    if message.version != PROTOCOL_VERSION:
        raise IncompatibleVersionError(message.version, message.node)
    _check_topic(topic, message)
    _check_contents(message)
    return message


def _decode_error(payload: bytes, error: Exception) -> MessageError:
    """Tell a message of another version from a malformed one."""
    try:
        head = _head_decoder.decode(payload)
    except DECODE_ERRORS:
        return MalformedMessageError(str(error)[:200])
    if head.version != PROTOCOL_VERSION:
        return IncompatibleVersionError(head.version, head.node)
    return MalformedMessageError(str(error)[:200])


def _check_topic(topic: bytes, message: AnyMessage) -> None:
    match message:
        case SnapshotPart():
            matches = is_snapshot_topic(topic)
        case Direct():
            matches = is_direct_topic(topic)
        case _:
            matches = topic == UPDATES
    if not matches:
        raise MalformedMessageError(f"{type(message).__name__} on topic {topic[:40]!r}")


def _check_contents(message: AnyMessage) -> None:
    advertisements, withdrawn = _contents(message)
    service = Kind.SERVICE
    try:
        for advertisement in advertisements:
            address, length = advertisement.prefix
            # a host prefix is always valid, and nearly all are hosts
            if (length != 32 or len(address) != 4) and (length != 128 or len(address) != 16):
                advertisement.prefix.validated()
            if advertisement.kind is service or advertisement.service is not None:
                _check_service(advertisement)
        for prefix in withdrawn:
            prefix.validated()
    except ValueError as error:
        raise MalformedMessageError(str(error)) from None


def _check_service(advertisement: Advertisement) -> None:
    if advertisement.service is None or advertisement.kind is not Kind.SERVICE:
        what = "without" if advertisement.service is None else "with"
        raise MalformedMessageError(f"kind {advertisement.kind} {what} a claim")
    if not advertisement.prefix.is_host:
        raise MalformedMessageError(f"a service at {advertisement.prefix}")
    if not advertisement.service.why.isprintable():  # it goes to logs and terminals as it is
        raise MalformedMessageError(f"a claim with the reason {advertisement.service.why!a:.100}")


def _contents(message: AnyMessage) -> tuple[tuple[Advertisement, ...], tuple[Prefix, ...]]:
    if isinstance(message, Update):
        return message.advertise, message.withdraw
    if isinstance(message, SnapshotPart):
        return message.advertisements, ()
    return (), ()


def snapshot_topic(nonce: bytes) -> bytes:
    """The topic on which one snapshot is requested and sent; *nonce*: `NONCE_BYTES` bytes."""
    return SNAPSHOT + nonce.hex().encode()


def is_snapshot_topic(topic: bytes) -> bool:
    """Whether *topic* is one that `snapshot_topic` returns."""
    digits = topic.removeprefix(SNAPSHOT)
    return (
        len(topic) == len(SNAPSHOT) + 2 * NONCE_BYTES
        and len(digits) == 2 * NONCE_BYTES
        and not digits.strip(b"0123456789abcdef")
    )


def direct_topic(node: str) -> bytes:
    """The topic of `Direct` messages to *node*.

    It ends with a byte that no name contains, because ZeroMQ matches subscriptions by prefix.
    """
    return DIRECT + node.encode() + b"/"


def is_direct_topic(topic: bytes) -> bool:
    """Whether *topic* is one that `direct_topic` may return."""
    return (
        topic.startswith(DIRECT)
        and topic.endswith(b"/")
        and len(DIRECT) + 1 < len(topic) <= len(DIRECT) + 256
        and topic.count(b"/") == 2
    )


PART_PREFIXES = 400
"""Prefixes of one message. With names of 512 bytes, the longest allowed, it has 232,000 bytes."""
MAX_SNAPSHOT_PARTS = math.ceil(MAX_ADVERTISEMENTS / PART_PREFIXES)
"""Parts of the largest snapshot that a peer may accept."""


def count_parts(advertisements: int) -> int:
    """The number of parts of a snapshot; at least 1, so that an empty one can be sent."""
    return max(1, math.ceil(advertisements / PART_PREFIXES))


def chunk_update(
    advertise: Iterable[Advertisement], withdraw: Iterable[Prefix]
) -> Iterator[tuple[tuple[Advertisement, ...], tuple[Prefix, ...]]]:
    """Cut an update into pairs (advertise, withdraw) of at most `PART_PREFIXES` prefixes.

    Withdrawals come first. Nothing is cut into no pairs.
    """
    advertisements, withdrawn = iter(advertise), iter(withdraw)
    while True:
        second = tuple(islice(withdrawn, PART_PREFIXES))
        first = tuple(islice(advertisements, PART_PREFIXES - len(second)))
        if not first and not second:
            return
        yield first, second
