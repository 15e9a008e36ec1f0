"""Our publishing socket over ZeroMQ, and the way to the peers': the `Transport` of real life."""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import trio
import zmq

from cuberouted.peering.transport import BindProblem, PeerEndpoint, SubscriberFrame
from cuberouted.peering.zmq.subscriber import Subscriber, endpoint, heartbeats
from cuberouted.peering.zmq.wait import ZmqReadable
from cuberouted.peering.zmq.zap import FAILED, ZAP_DOMAIN, SubscriptionLimit, ZapAuthenticator

SEND_QUEUE = 1000
"""Messages queued for one subscriber; a snapshot of 65,536 prefixes is at most 600."""
MAX_REQUEST = 512
"""Bytes of one frame from a subscriber. CURVE's handshake does not fit into 256 (tried)."""
REQUEST_QUEUE = 10
"""Frames that are taken from one subscriber at a time: ZeroMQ reads until there are no more."""
LINGER = 500
"""Milliseconds that our last words have to leave."""
REBIND_TRIES = 20
"""Milliseconds that we stand still, at most, to listen again; the next `bind` tries too."""

_BIND_ERRORS = {
    errno.EADDRINUSE: "the port is in use by another program",
    errno.EADDRNOTAVAIL: "this host does not have the address (now)",
    errno.EACCES: "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
}


@asynccontextmanager
async def open_transport(
    port: int, hold_time: float, secret_key: bytes | None = None
) -> AsyncIterator[ZmqTransport]:
    """A transport that will listen on *port*, for as long as the context lasts.

    *hold_time*, in seconds: how long a connection may be silent. *secret_key* (Z85): with
    one every connection is encrypted, or there is none.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    doorkeeper = ZapAuthenticator(context)
    bus = ZmqTransport(context, doorkeeper, port, hold_time, secret_key)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(doorkeeper.serve)
            nursery.start_soon(doorkeeper.watch, bus.monitor)
            yield bus
            nursery.cancel_scope.cancel()
    finally:
        bus.close()
        doorkeeper.close()
        with trio.CancelScope(shield=True):  # bounded by LINGER
            await trio.to_thread.run_sync(context.destroy, 0)


class ZmqTransport:
    """See `port.Transport`. Made by `open_bus`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        doorkeeper: ZapAuthenticator,
        port: int,
        hold_time: float,
        secret_key: bytes | None,
    ) -> None:
        self._context = context
        self._doorkeeper = doorkeeper
        self._port = port
        self._hold_time = hold_time
        self._secret_key = secret_key
        self._bound: dict[bytes, bytes] = {}
        self._topics = SubscriptionLimit()
        self._socket = context.socket(zmq.XPUB)
        for option, value in self._options().items():
            self._socket.setsockopt(option, value)
        self.monitor = self._socket.get_monitor_socket(FAILED, "inproc://monitor-door")
        self._wakeup = ZmqReadable(self._socket)

    @property
    def rejected_connections(self) -> int:
        """How many connections the ZAP authenticator turned away."""
        return self._doorkeeper.rejected_connections

    def allow(self, peers: Mapping[bytes, str]) -> None:
        """Let in these, and cut off at once who is no longer among them."""
        fewer = self._doorkeeper.peers.items() - peers.items()
        self._doorkeeper.peers = dict(peers)
        if fewer:
            self._end_connections()

    def bind(self, addresses: Iterable[bytes]) -> tuple[BindProblem, ...]:
        """Listen on these too. An address that goes and comes back needs no second bind."""
        wanted = {address for address in addresses if not _link_local(address)}
        problems = (self._bind(address) for address in sorted(wanted - self._bound.keys()))
        return tuple(problem for problem in problems if problem is not None)

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Queue this for every subscriber whose queue has room."""
        self._socket.send_multipart((topic, payload), zmq.NOBLOCK)
        self._wakeup.recheck_if_readable()

    def receive(self) -> SubscriberFrame | None:
        """The next frame from a subscriber, or None."""
        try:
            # One frame at a time: of a message in several parts some may be withheld.
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        sender, said = self._sender(frame), frame.bytes
        if self._topics.heard(said, sender) and sender is not None:
            self._topics.forget(sender)
            self._doorkeeper.ban(sender)
            self._end_connections()
            return SubscriberFrame(None, said)
        return SubscriberFrame(sender, said)

    async def readable(self, deadline: float) -> None:
        """Wait until a subscriber has sent something, or *deadline*."""
        await self._wakeup.readable(deadline)

    @contextmanager
    def open(self, end: PeerEndpoint) -> Iterator[Subscriber]:
        """A subscriber that connects to *end*.

        Raises:
          ValueError: only one of us has keys; that is never made up for by not encrypting.
        """
        if bool(end.public_keys) != bool(self._secret_key):
            raise ValueError(f"peer {end.key}: keys on one side only")
        subscriber = Subscriber(self._context, end, self._hold_time, self._secret_key)
        try:
            yield subscriber
        finally:
            subscriber.close()

    def close(self) -> None:
        """Send what is queued, for half a second at most, and listen no more."""
        self._socket.disable_monitor()
        self.monitor.close(linger=0)
        self._socket.close(linger=LINGER)

    def _bind(self, address: bytes) -> BindProblem | None:
        try:
            self._socket.bind(endpoint(address, self._port))
        except zmq.ZMQError as error:
            why = _BIND_ERRORS.get(error.errno or 0, zmq.strerror(error.errno or 0))
            return BindProblem(address, f"cannot listen on {endpoint(address, self._port)}: {why}")
        self._bound[address] = bytes(self._socket.getsockopt(zmq.LAST_ENDPOINT))
        return None

    def _end_connections(self) -> None:
        """End them all, which ZeroMQ does by not listening; who is admitted comes back at once."""
        addresses = list(self._bound)
        for place in self._bound.values():
            self._socket.unbind(place.rstrip(b"\0").decode())
        self._bound.clear()
        for _ in range(REBIND_TRIES):
            if not self.bind(addresses):
                break
            time.sleep(0.001)  # ZeroMQ's own thread closes the old listener any moment

    def _sender(self, frame: zmq.Frame) -> str | None:
        """Key of the peer that sent *frame*, if the ZAP authenticator still allows it."""
        try:
            key = str(frame.get("User-Id"))
        except zmq.ZMQError:  # made up by ZeroMQ when a connection ended
            return None
        return key if self._doorkeeper.allows(key) else None

    def _options(self) -> dict[int, int | bytes]:
        curve: dict[int, int | bytes] = {}
        if self._secret_key is not None:
            curve = {zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: self._secret_key}
        return {
            **curve,
            **heartbeats(self._hold_time),
            zmq.IPV6: 1,
            zmq.XPUB_VERBOSE: 1,
            zmq.ZAP_DOMAIN: ZAP_DOMAIN,
            zmq.SNDHWM: SEND_QUEUE,
            zmq.RCVHWM: REQUEST_QUEUE,
            zmq.MAXMSGSIZE: MAX_REQUEST,
            zmq.HANDSHAKE_IVL: 2000,
            zmq.LINGER: LINGER,
        }


def _link_local(address: bytes) -> bool:
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80
