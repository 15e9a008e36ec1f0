"""Everything that the sharing room needs of a network, on one page.

`transport.open_bus` gives it over ZeroMQ; tests and the simulation hand in a fake. All methods
but the waiting ones return at once. Every wait may be cancelled without loss, and each is
for one task at a time.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import attrs


@attrs.frozen
class PeerEndpoint:
    """Where a peer is listened to.

    ``key``: the peer's key. ``address``: its management address, packed. ``device``: the
    interface that leads there and the only one to be used, or None for any. ``public_keys``:
    its keys in Z85, of which one is in force; none: nothing is encrypted.
    """

    key: str
    address: bytes
    port: int
    device: str | None
    public_keys: tuple[bytes, ...] = ()


class ConnectionState(enum.Enum):
    """The connection to a peer; the value says it in words."""

    CONNECTED = ""
    DISCONNECTED = "no connection"
    TURNED_AWAY = "it turns us away: our management address is not one of its peers'"
    KEY_REFUSED = "it turns us away: our public key is not one of its peers'"
    NO_HANDSHAKE = (
        "no connection: what listens there does not have the key that public_key names,"
        " or only one side encrypts"
    )


class SubscriberFrame(NamedTuple):
    """What came in on the publishing socket: ``peer`` is the admitted sender's key, or None."""

    peer: str | None
    frame: bytes


class BindProblem(NamedTuple):
    """An address (packed) on which we do not listen, and why, in words."""

    address: bytes
    why: str


class PeerSocket(Protocol):
    """What one peer publishes, of the topics subscribed to; lost connections are made anew."""

    def subscribe(self, topic: bytes) -> None:
        """Hear *topic*, also on every later connection."""

    def unsubscribe(self, topic: bytes) -> None:
        """Hear it no more."""

    def receive(self) -> Sequence[bytes] | None:
        """The frames of the next message, or None: nothing has come."""

    async def readable(self, deadline: float) -> None:
        """Wait until `receive` has something, or *deadline* (monotonic seconds) has come."""

    async def link_change(self) -> ConnectionState:
        """Wait until the connection is another than last told. Has to be awaited all the
        time: some failures are mended here.
        """


class Transport(Protocol):
    """Our publishing socket, and the way to the peers'."""

    @property
    def rejected_connections(self) -> int:
        """How many connections were turned away."""

    def allow(self, peers: Mapping[bytes, str]) -> None:
        """Let in these, under these keys, and nobody else; who was in and is not now goes.

        They are told by the addresses (packed) that they connect from, or by their public
        keys (Z85) on a transport that encrypts.
        """

    def bind(self, addresses: Iterable[bytes]) -> tuple[BindProblem, ...]:
        """Listen on these addresses (packed) too; what is wrong with those that failed.

        Call it again with the same addresses as often as you like: when one has appeared,
        or to try again. IPv6 link-local addresses are left out.
        """

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Say this to every subscriber of *topic*. Never blocks: who is too slow loses it."""

    def receive(self) -> SubscriberFrame | None:
        """The next thing that a subscriber sent, or None."""

    async def readable(self, deadline: float) -> None:
        """Wait until `receive` has something, or *deadline* (monotonic seconds) has come."""

    def open(self, end: PeerEndpoint) -> AbstractContextManager[PeerSocket]:
        """Connect to a peer. The context has to end before the transport does."""
