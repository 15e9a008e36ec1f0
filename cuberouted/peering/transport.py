"""The network as the rest of this package uses it: our publishing socket, and one for each peer.

`zmq.transport.open_transport` implements it over ZeroMQ; unit tests and the simulation use a
fake. All methods but the ``async`` ones return at once. Every wait may be cancelled without
loss, and each is for one task at a time.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import attrs


@attrs.frozen
class PeerEndpoint:
    """Where a peer publishes.

    ``label``: the peer, as the log and the commands name it. ``address``: its management
    address, packed. ``device``: the only interface that may be used, or None for any.
    ``public_keys``: the peer's CURVE keys in Z85, one of which is in use; empty: no encryption.
    """

    label: str
    address: bytes
    port: int
    device: str | None
    public_keys: tuple[bytes, ...] = ()


class ConnectionState(enum.Enum):
    """The connection to a peer. The value is its description for people."""

    CONNECTED = ""
    DISCONNECTED = "no connection"
    ADDRESS_REJECTED = "it rejects us: our management address is not one of its peers'"
    KEY_REJECTED = "it rejects us: our public key is not one of its peers'"
    NO_HANDSHAKE = (
        "connected, but no handshake: the process that listens there does not have the key"
        " that public_key names, or only one side encrypts, or it is not cuberouted"
    )


class SubscriberFrame(NamedTuple):
    """A frame received on the publishing socket; ``peer``: the authenticated sender, or None."""

    peer: str | None
    frame: bytes


class BindProblem(NamedTuple):
    """An address (packed) on which we cannot listen, and why, for people."""

    address: bytes
    why: str


class PeerSocket(Protocol):
    """Receives what one peer publishes. Lost connections are established again."""

    def subscribe(self, topic: bytes) -> None:
        """Receive messages on *topic*, on later connections too."""

    def unsubscribe(self, topic: bytes) -> None:
        """Stop receiving messages on *topic*."""

    def receive(self) -> Sequence[bytes] | None:
        """The frames of the next message, or None if none has arrived."""

    async def readable(self, deadline: float) -> None:
        """Wait until `receive` may return a message, or until *deadline* (monotonic seconds)."""

    async def connection_change(self) -> ConnectionState:
        """Wait until the state of the connection differs from the last one returned.

        Some task has to wait here at all times: it repairs connections that ZeroMQ gives up.
        """


class Transport(Protocol):
    """Our publishing socket, and connections to the peers' publishing sockets."""

    @property
    def rejected_connections(self) -> int:
        """How many connections to our socket were rejected."""

    def allow(self, peers: Mapping[bytes, str]) -> None:
        """Accept connections of these peers only, and end those of any other within milliseconds.

        *peers*: the peers' keys, by the address (packed) from which they connect, or by their
        public key (Z85) on a transport that encrypts.
        """

    @property
    def bind_problems(self) -> tuple[BindProblem, ...]:
        """The addresses given to `listen` on which we do not listen now; each is retried."""

    def listen(self, addresses: Iterable[bytes]) -> None:
        """Listen on these addresses (packed), in place of those given before. Call `allow` first.

        IPv6 link-local addresses are skipped.
        """

    def reconfigure(self, hold_time: float) -> None:
        """Detect lost connections by another *hold_time* (seconds) from now on.

        If it differs, all connections are made again; messages that are on the way are lost.
        """

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Send a message to every subscriber of *topic* whose queue has room. Never blocks."""

    def receive(self) -> SubscriberFrame | None:
        """The next frame that a subscriber sent, or None."""

    async def readable(self, deadline: float) -> None:
        """Wait until `receive` may return a frame, or until *deadline* (monotonic seconds)."""

    def connect(self, endpoint: PeerEndpoint) -> AbstractContextManager[PeerSocket]:
        """Connect to a peer. The context has to end before the transport is closed."""
