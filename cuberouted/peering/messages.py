"""What nodes say to each other, and how it is written.

Two frames: a topic, and a msgpack array that begins with the message's tag, the protocol
version and the sender's node name. That head stays as it is in every version to come, so
that a node can always tell who speaks a version that it does not. Fields that a later
minor version appends are ignored.

Pure: bytes in, values out. Everything that a peer sent is checked here, once; behind this
door a message is what its type says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import msgspec

from cuberouted.model import Advertisement, Prefix

PROTOCOL_VERSION = 1
MAX_MESSAGE = 256 * 1024
"""Bytes of one message; ours are cut at a quarter of that (`parts`)."""

UPDATES = b"u"
SNAPSHOT = b"s/"
NONCE_BYTES = 8
"""Every snapshot topic has the same length, because ZeroMQ matches subscriptions by prefix."""

Count = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
NodeName = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
"""As a configuration takes it (`config.converters.name`): it is logged and shown as it stands."""


class Message(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The head of every message.

    ``epoch`` is drawn at random when a node starts; ``seq`` counts its updates from 1, so
    it is the last update's number in a message that is no update itself.
    """

    version: int = PROTOCOL_VERSION
    node: NodeName
    epoch: Count
    seq: Count


class Update(Message, frozen=True, array_like=True, kw_only=True, tag="u", gc=False):
    """Changes, absolute: each advertisement replaces what was known of its prefix.

    A prefix that is in both is advertised.
    """

    advertise: tuple[Advertisement, ...] = ()
    withdraw: tuple[Prefix, ...] = ()


class Heartbeat(Message, frozen=True, array_like=True, kw_only=True, tag="h"):
    """Nothing new. ``syncing``: the node does not know all its own clients yet."""

    syncing: bool


class Goodbye(Message, frozen=True, array_like=True, kw_only=True, tag="g"):
    """The node's last words. ``restarting``: its routes stay good for a while."""

    restarting: bool


class SnapshotPart(Message, frozen=True, array_like=True, kw_only=True, tag="s", gc=False):
    """Part ``index`` (from 0) of ``count``: together, all that the node advertised at ``seq``."""

    index: Count
    count: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    advertisements: tuple[Advertisement, ...]


AnyMessage = Update | Heartbeat | Goodbye | SnapshotPart


class MessageError(Exception):
    """What a peer sent cannot be used."""


class MalformedMessageError(MessageError):
    """It is no message of this protocol."""


class IncompatibleVersionError(MessageError):
    """It is of another major version: ``version`` and ``node`` are what it says."""

    def __init__(self, version: int, node: str) -> None:
        super().__init__(f"speaks protocol version {version}, we speak {PROTOCOL_VERSION}")
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
    """The second frame of *message*."""
    return _encoder.encode(message)


def decode(frames: Sequence[bytes]) -> AnyMessage:
    """The message in *frames*: topic and payload.

    Raises:
      IncompatibleVersionError: a message of another protocol version.
      MalformedMessageError: anything else that is not as this module says.
    """
    if len(frames) != 2:
        raise MalformedMessageError(f"{len(frames)} frames, expected 2")
    topic, payload = frames
    if len(payload) > MAX_MESSAGE:
        raise MalformedMessageError(f"{len(payload)} bytes, limit {MAX_MESSAGE}")
    try:
        message = _decoder.decode(payload)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise _reason(payload, error) from None
    if message.version != PROTOCOL_VERSION:
        raise IncompatibleVersionError(message.version, message.node)
    _check_topic(topic, message)
    _check_prefixes(message)
    return message


def _reason(payload: bytes, error: Exception) -> MessageError:
    """What to say of a payload that did not decode: another version, or nonsense."""
    try:
        head = _head_decoder.decode(payload)
    except (ValueError, RecursionError):
        return MalformedMessageError(str(error)[:200])
    if head.version != PROTOCOL_VERSION:
        return IncompatibleVersionError(head.version, head.node)
    return MalformedMessageError(str(error)[:200])


def _check_topic(topic: bytes, message: AnyMessage) -> None:
    fits = is_snapshot_topic(topic) if isinstance(message, SnapshotPart) else topic == UPDATES
    if not fits:
        raise MalformedMessageError(f"{type(message).__name__} on topic {topic[:40]!r}")


def _check_prefixes(message: AnyMessage) -> None:
    advertisements, prefixes = _contents(message)
    try:
        for advertisement in advertisements:
            address, length = advertisement.prefix
            if (length != 32 or len(address) != 4) and (length != 128 or len(address) != 16):
                advertisement.prefix.validated()
        for prefix in prefixes:
            prefix.validated()
    except ValueError as error:
        raise MalformedMessageError(str(error)) from None


def _contents(message: AnyMessage) -> tuple[tuple[Advertisement, ...], tuple[Prefix, ...]]:
    if isinstance(message, Update):
        return message.advertise, message.withdraw
    if isinstance(message, SnapshotPart):
        return message.advertisements, ()
    return (), ()


def snapshot_topic(nonce: bytes) -> bytes:
    """The topic on which one snapshot is asked for and answered; *nonce*: `NONCE_BYTES` bytes."""
    return SNAPSHOT + nonce.hex().encode()


def is_snapshot_topic(topic: bytes) -> bool:
    """Whether *topic* is one that `snapshot_topic` writes."""
    digits = topic.removeprefix(SNAPSHOT)
    return (
        len(topic) == len(SNAPSHOT) + 2 * NONCE_BYTES
        and len(digits) == 2 * NONCE_BYTES
        and not digits.strip(b"0123456789abcdef")
    )


CHUNK_PREFIXES = 500
CHUNK_BYTES = 64 * 1024

_HEAD = 1200
"""More than the head of any message takes: a node name of 255 characters, four bytes each."""
_ADVERTISEMENT = 65
"""Upper bound of an encoded advertisement without its name, in bytes."""
_PREFIX = 24


def chunk_snapshot(advertisements: Iterable[Advertisement]) -> list[tuple[Advertisement, ...]]:
    """*advertisements* in parts of at most `MAX_ITEMS`, each below `MAX_BYTES` when encoded.

    Nothing is one empty part: a node without clients has to say so.
    """
    return [advertise for advertise, _ in _cut(advertisements, ())] or [()]


def chunk_update(
    advertise: Iterable[Advertisement], withdraw: Iterable[Prefix]
) -> list[tuple[tuple[Advertisement, ...], tuple[Prefix, ...]]]:
    """The same for an update: pairs of what to advertise and what to withdraw; none for nothing."""
    return list(_cut(advertise, withdraw))


def _cut(
    advertise: Iterable[Advertisement], withdraw: Iterable[Prefix]
) -> Iterator[tuple[tuple[Advertisement, ...], tuple[Prefix, ...]]]:
    gone: list[Prefix] = []
    for prefix in withdraw:
        if len(gone) == CHUNK_PREFIXES:
            yield (), tuple(gone)
            gone = []
        gone.append(prefix)
    held: list[Advertisement] = []
    size = _HEAD + _PREFIX * len(gone)
    for advertisement in advertise:
        more = _ADVERTISEMENT + len(advertisement.name)
        if len(held) + len(gone) == CHUNK_PREFIXES or size + more > CHUNK_BYTES:
            yield tuple(held), tuple(gone)
            held, gone, size = [], [], _HEAD
        held.append(advertisement)
        size += more
    if held or gone:
        yield tuple(held), tuple(gone)
