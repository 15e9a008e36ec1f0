"""The transport over ZeroMQ: one XPUB socket of our own, and a SUB socket for each peer."""

from __future__ import annotations

import errno
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import trio
import zmq

from cuberouted.events import Emit, NodeProblem
from cuberouted.peering.messages import MAX_SNAPSHOT_PARTS
from cuberouted.peering.transport import BindProblem, PeerEndpoint, SubscriberFrame
from cuberouted.peering.zmq.subscriber import Subscriber, heartbeat_options, tcp_endpoint
from cuberouted.peering.zmq.wait import ZmqReadable
from cuberouted.peering.zmq.zap import (
    HANDSHAKE_FAILED,
    ZAP_DOMAIN,
    SubscriptionLimit,
    ZapAuthenticator,
)

UPDATE_QUEUE = 1000
"""Messages other than a snapshot's that are queued for a subscriber."""
SEND_QUEUE = MAX_SNAPSHOT_PARTS + UPDATE_QUEUE
"""High-water mark of a subscriber's queue: beyond it XPUB drops messages. It holds the largest
snapshot, because a busy peer may start to read when all of it has been published."""
MAX_REQUEST = 512
"""Bytes of one frame from a subscriber. CURVE's handshake does not fit into 256 (tried)."""
REQUEST_QUEUE = 10
"""Frames that are read from one subscriber at a time: ZeroMQ reads until there are no more."""
LINGER = 500
"""Milliseconds for which closing waits for queued messages to be sent."""
MIN_REBIND_DELAY = 0.001
"""Seconds until a failed bind is retried; doubled after each failure up to `MAX_REBIND_DELAY`."""
MAX_REBIND_DELAY = 5.0
REPORTED_REBIND_DELAY = 0.1
"""A bind problem is an event when the delay has reached this. After `unbind`, ZeroMQ's I/O thread
needs some milliseconds to close a listener, and until then the address is in use."""

_BIND_ERRORS = {
    errno.EADDRINUSE: "the port is in use by another program",
    errno.EADDRNOTAVAIL: "this host does not have the address (now)",
    errno.EACCES: "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
}


@asynccontextmanager
async def open_transport(
    port: int, hold_time: float, secret_key: bytes | None = None, *, emit: Emit
) -> AsyncIterator[ZmqTransport]:
    """Open a transport, closed at the end of the context. It listens on *port* after `listen`.

    *hold_time*: seconds without a ZMTP heartbeat after which a connection is closed.
    *secret_key* (Z85): if given, only encrypted connections are accepted and made.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    authenticator = ZapAuthenticator(context, emit)
    transport = ZmqTransport(context, authenticator, port, hold_time, secret_key, emit)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(authenticator.serve)
            nursery.start_soon(authenticator.watch, transport.monitor)
            nursery.start_soon(transport.keep_bound)
            yield transport
            nursery.cancel_scope.cancel()
    finally:
        transport.close()
        authenticator.close()
        with trio.CancelScope(shield=True):  # bounded by LINGER
            await trio.to_thread.run_sync(context.destroy, 0)


class ZmqTransport:
    """See `transport.Transport`. Made by `open_transport`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        authenticator: ZapAuthenticator,
        port: int,
        hold_time: float,
        secret_key: bytes | None,
        emit: Emit,
    ) -> None:
        self._context = context
        self._authenticator = authenticator
        self._port = port
        self._hold_time = hold_time
        self._secret_key = secret_key
        self._emit = emit
        self._addresses: frozenset[bytes] = frozenset()
        self._bound: dict[bytes, bytes] = {}  # address: the endpoint to unbind
        self._problems: tuple[BindProblem, ...] = ()
        self._bind_again = trio.Event()
        self._subscribers: set[Subscriber] = set()
        self._subscriptions = SubscriptionLimit()
        self._socket = context.socket(zmq.XPUB)
        for option, value in self._options().items():
            self._socket.setsockopt(option, value)
        self.monitor = self._socket.get_monitor_socket(HANDSHAKE_FAILED, "inproc://monitor-xpub")
        self._readable = ZmqReadable(self._socket)

    @property
    def rejected_connections(self) -> int:
        """How many connections to our socket were rejected."""
        return self._authenticator.rejected_connections

    def allow(self, peers: Mapping[bytes, str]) -> None:
        """Accept these peers only, and end the connections of any other."""
        removed = self._authenticator.peers.items() - peers.items()
        self._authenticator.peers = dict(peers)
        if removed:
            self._end_connections()

    @property
    def bind_problems(self) -> tuple[BindProblem, ...]:
        """The addresses on which we should listen and do not, with the reason."""
        return self._problems

    def listen(self, addresses: Iterable[bytes]) -> None:
        """Listen on these addresses.

        Others stay bound: an address that vanishes from the host and returns needs no second bind.
        """
        self._addresses = frozenset(a for a in addresses if not _link_local(a))
        self._bind_missing()
        self._bind_again.set()

    async def keep_bound(self) -> None:
        """Retry failed binds, and emit those that last, until cancelled."""
        delay, reported = MIN_REBIND_DELAY, tuple[BindProblem, ...]()
        while True:
            self._bind_again = trio.Event()
            with trio.move_on_after(delay if self._problems else math.inf):
                await self._bind_again.wait()
            if self._bind_again.is_set():  # another set of addresses, or all were unbound
                delay = MIN_REBIND_DELAY
                continue
            self._bind_missing()
            delay = min(2 * delay, MAX_REBIND_DELAY)
            lasting = delay >= REPORTED_REBIND_DELAY or not self._problems
            if lasting and self._problems != reported:
                reported = self._problems
                for problem in reported:
                    why = f"{problem.why}; trying again"
                    self._emit(NodeProblem(what="publishing socket", why=why))

    def reconfigure(self, hold_time: float) -> None:
        """Use another hold time for ZMTP's heartbeats, on both sides of our connections."""
        if hold_time == self._hold_time:
            return
        self._hold_time = hold_time
        # libzmq uses the options that were set when an endpoint was bound or connected
        for option, value in heartbeat_options(hold_time).items():
            self._socket.setsockopt(option, value)
        self._end_connections()
        for subscriber in self._subscribers:
            subscriber.reconfigure(hold_time)

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Queue a message for every subscriber of *topic* whose queue has room."""
        self._socket.send_multipart((topic, payload), zmq.NOBLOCK)
        self._readable.recheck_if_readable()

    def receive(self) -> SubscriberFrame | None:
        """The next frame from a subscriber, or None."""
        try:
            # One frame at a time: of a message in several parts some may be withheld.
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        sender, content = self._sender(frame), frame.bytes
        if self._subscriptions.add(content, sender) and sender is not None:
            self._subscriptions.forget(sender)
            self._authenticator.ban(sender)
            self._end_connections()
            return SubscriberFrame(None, content)
        return SubscriberFrame(sender, content)

    async def readable(self, deadline: float) -> None:
        """Wait until a subscriber has sent something, or *deadline*."""
        await self._readable.readable(deadline)

    @contextmanager
    def connect(self, endpoint: PeerEndpoint) -> Iterator[Subscriber]:
        """Connect a subscriber to *endpoint*.

        Raises:
          ValueError: only one side has keys. There is no fallback to an unencrypted connection.
        """
        if bool(endpoint.public_keys) != bool(self._secret_key):
            raise ValueError(f"peer {endpoint.label}: keys on one side only")
        subscriber = Subscriber(
            self._context, endpoint, self._hold_time, self._secret_key, emit=self._emit
        )
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.remove(subscriber)
            subscriber.close()

    def close(self) -> None:
        """Stop listening. Queued messages are still sent, for `LINGER` at most."""
        self._socket.disable_monitor()
        self.monitor.close(linger=0)
        self._socket.close(linger=LINGER)

    def _bind_missing(self) -> None:
        problems = map(self._bind, sorted(self._addresses - self._bound.keys()))
        self._problems = tuple(problem for problem in problems if problem is not None)
        self._readable.recheck_if_readable()

    def _bind(self, address: bytes) -> BindProblem | None:
        try:
            self._socket.bind(tcp_endpoint(address, self._port))
        except zmq.ZMQError as error:
            why = _BIND_ERRORS.get(error.errno or 0, zmq.strerror(error.errno or 0))
            return BindProblem(
                address, f"cannot listen on {tcp_endpoint(address, self._port)}: {why}"
            )
        self._bound[address] = bytes(self._socket.getsockopt(zmq.LAST_ENDPOINT))
        return None

    def _end_connections(self) -> None:
        # XPUB cannot end one connection; unbinding ends all, and allowed peers reconnect
        for bound in self._bound.values():
            self._socket.unbind(bound.rstrip(b"\0").decode())
        self._bound.clear()
        self._bind_missing()
        self._bind_again.set()

    def _sender(self, frame: zmq.Frame) -> str | None:
        """Key of the peer that sent *frame*, if the authenticator still allows it."""
        try:
            key = str(frame.get("User-Id"))
        except zmq.ZMQError:  # ZeroMQ made the frame up, for a connection that was closed
            return None
        return key if self._authenticator.allows(key) else None

    def _options(self) -> dict[int, int | bytes]:
        curve: dict[int, int | bytes] = {}
        if self._secret_key is not None:
            curve = {zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: self._secret_key}
        return {
            **curve,
            **heartbeat_options(self._hold_time),
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
