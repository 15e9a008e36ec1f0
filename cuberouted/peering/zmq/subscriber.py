"""Receiving what one peer publishes, over ZeroMQ: a SUB socket and its monitor.

The socket is bound to the peer's device: else it would follow the default route while the
tunnel is down, and might connect to a foreign host.

With CURVE the peer has to prove that it has the secret key for the public key that we use.
During a change of keys the configuration names two; which one is in use shows only in
whether the handshake succeeds.
"""

from __future__ import annotations

import itertools
import math
import socket
from collections import deque

import trio
import zmq
from zmq.utils.monitor import parse_monitor_message

from cuberouted.events import Emit, PeerWarning
from cuberouted.peering.messages import MAX_MESSAGE
from cuberouted.peering.transport import ConnectionState, PeerEndpoint
from cuberouted.peering.zmq.wait import ZmqReadable

RECONNECT_DELAY = 1.0
"""Seconds until a connection that ZeroMQ has given up is made again."""

_HANDSHAKE_FAILURES = zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
_ENDED = zmq.Event.DISCONNECTED | zmq.Event.HANDSHAKE_FAILED_AUTH
_HANDSHAKE_ENDED = (
    _HANDSHAKE_FAILURES | zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_SUCCEEDED
)
_ENDS_ATTEMPT = zmq.Event.DISCONNECTED | zmq.Event.CONNECT_RETRIED
_ATTEMPTS = zmq.Event.CONNECT_DELAYED | zmq.Event.CONNECT_RETRIED | zmq.Event.CONNECTED
_MONITORED = _ENDED | _ATTEMPTS | _HANDSHAKE_FAILURES | zmq.Event.HANDSHAKE_SUCCEEDED

_monitor_numbers = itertools.count()


class ConnectionTracker:
    """Derives the state of a connection from libzmq's monitor events. Pure.

    ``state`` is None before the first attempt has ended. ``given_up``: libzmq will not try
    again, unless an event says otherwise soon.
    """

    def __init__(self, *, encrypted: bool) -> None:
        self.state: ConnectionState | None = None
        self.given_up = False
        self._encrypted = encrypted
        self._tcp_connected = False
        self._handshaking = False

    def handle(self, event: zmq.Event) -> None:
        """Update the state from *event*."""
        # After a rejection by ZAP, and after any violation of the protocol (a message beyond
        # MAXMSGSIZE is one), libzmq 4.3 ends the connection for good: see
        # session_base_t::engine_error. No event reports that; only the next attempt is missing.
        if event & _ATTEMPTS:
            self.given_up = False
        elif event & _ENDED:
            self.given_up = True
        if event & _ENDS_ATTEMPT and self._handshaking:
            self.state = ConnectionState.NO_HANDSHAKE  # libzmq has had no word for it
        else:
            self._note_result(event)
        if event in (zmq.Event.CONNECTED, zmq.Event.CONNECT_DELAYED):
            self._tcp_connected = self._handshaking = event == zmq.Event.CONNECTED
        elif event & _HANDSHAKE_ENDED:
            self._handshaking = False

    def _note_result(self, event: zmq.Event) -> None:
        match event:
            case zmq.Event.HANDSHAKE_SUCCEEDED:
                self.state = ConnectionState.CONNECTED
            case zmq.Event.HANDSHAKE_FAILED_AUTH:
                self.state = (
                    ConnectionState.KEY_REJECTED
                    if self._encrypted
                    else ConnectionState.ADDRESS_REJECTED
                )
            # which of the two libzmq reports for the same mismatch differs between machines
            case zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL:
                self.state = ConnectionState.NO_HANDSHAKE
            case zmq.Event.CONNECT_RETRIED if not self._tcp_connected:
                self.state = ConnectionState.DISCONNECTED
            case zmq.Event.DISCONNECTED if self.state is ConnectionState.CONNECTED:
                self.state = ConnectionState.DISCONNECTED


class Subscriber:
    """The `PeerSocket` for *endpoint*. Close it when no task waits on it any more."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: PeerEndpoint,
        hold_time: float,
        secret_key: bytes | None = None,
        *,
        emit: Emit,
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._hold_time = hold_time
        self._secret_key = secret_key
        self._emit = emit
        self._socket_problem = ""
        self._server_keys = deque(endpoint.public_keys)
        self._topics: set[bytes] = set()
        self._tracker = ConnectionTracker(encrypted=bool(endpoint.public_keys))
        self._returned_state: ConnectionState | None = None
        self._next_key_at = math.inf
        self._connect()

    def subscribe(self, topic: bytes) -> None:
        """Receive *topic*. ZeroMQ sends the subscription now, and on every new connection."""
        self._topics.add(topic)
        self._socket.setsockopt(zmq.SUBSCRIBE, topic)

    def unsubscribe(self, topic: bytes) -> None:
        """Stop receiving *topic*."""
        self._topics.discard(topic)
        self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)

    def receive(self) -> list[bytes] | None:
        """The frames of the next message, or None."""
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    async def readable(self, deadline: float) -> None:
        """Wait until a message has come, the socket was replaced, or *deadline*."""
        await self._readable.readable(deadline)

    async def connection_change(self) -> ConnectionState:
        """Wait for a change of the connection; repair one that ZeroMQ has given up."""
        while True:
            retry_at = math.inf
            if self._tracker.given_up:
                retry_at = trio.current_time() + RECONNECT_DELAY
            await self._monitor_readable.readable(min(retry_at, self._next_key_at))
            if trio.current_time() >= self._next_key_at:
                self._server_keys.rotate(-1)
                self._reconnect()
            event = self._next_event()
            if event is not None:
                self._handle(event)
            elif self._tracker.given_up:
                self._reconnect()
            state = self._tracker.state
            if state is not None and state is not self._returned_state:
                self._returned_state = state
                return state

    def reconfigure(self, hold_time: float) -> None:
        """Use another hold time for ZMTP's heartbeats, on a new connection."""
        self._hold_time = hold_time
        self._reconnect()

    def close(self) -> None:
        """Close the socket."""
        _close(self._socket, self._monitor)

    def _next_event(self) -> zmq.Event | None:
        try:
            frames = self._monitor.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return zmq.Event(parse_monitor_message(frames)["event"])

    def _handle(self, event: zmq.Event) -> None:
        self._tracker.handle(event)
        if event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self._next_key_at = math.inf
        elif event & _HANDSHAKE_FAILURES and len(self._server_keys) > 1:
            self._next_key_at = min(self._next_key_at, trio.current_time() + RECONNECT_DELAY)

    def _reconnect(self) -> None:
        self._next_key_at = math.inf
        self._readable.recheck()
        self._monitor_readable.recheck()
        old = self._socket, self._monitor
        try:
            self._connect()
        except zmq.ZMQError as error:
            self._tracker.given_up = True  # no descriptors, say: try again
            self._emit_socket_problem(f"no socket to connect with: {error.strerror}")
            return
        self._socket_problem = ""
        self._tracker.given_up = False
        _close(*old)

    def _emit_socket_problem(self, why: str) -> None:
        if why != self._socket_problem:  # not at each attempt
            self._socket_problem = why
            self._emit(PeerWarning(peer=self._endpoint.label, why=why))

    def _connect(self) -> None:
        socket = self._context.socket(zmq.SUB)
        try:
            for option, value in self._options().items():
                socket.setsockopt(option, value)
            monitor = socket.get_monitor_socket(
                _MONITORED, f"inproc://monitor-{next(_monitor_numbers)}"
            )
        except zmq.ZMQError:
            socket.close(linger=0)
            raise
        for topic in self._topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._socket, self._monitor = socket, monitor
        self._readable = ZmqReadable(socket)
        self._monitor_readable = ZmqReadable(monitor)
        socket.connect(tcp_endpoint(self._endpoint.address, self._endpoint.port))

    def _options(self) -> dict[int, int | bytes]:
        options: dict[int, int | bytes] = {
            **heartbeat_options(self._hold_time),
            zmq.IPV6: len(self._endpoint.address) == 16,
            zmq.LINGER: 0,
            zmq.MAXMSGSIZE: MAX_MESSAGE,
            zmq.CONNECT_TIMEOUT: 1000,  # without it a reconnect after an outage was 3 s late
            zmq.HANDSHAKE_IVL: 2000,
            zmq.RECONNECT_IVL: 100,
            zmq.RECONNECT_IVL_MAX: 1000,
        }
        if self._secret_key is not None:
            options |= {
                zmq.CURVE_SERVERKEY: self._server_keys[0],
                zmq.CURVE_PUBLICKEY: zmq.curve_public(self._secret_key),
                zmq.CURVE_SECRETKEY: self._secret_key,
            }
        if self._endpoint.device is not None:
            options[zmq.BINDTODEVICE] = self._endpoint.device.encode()
        return options


def _close(socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=0)


def heartbeat_options(hold_time: float) -> dict[int, int | bytes]:
    """Options for ZMTP's heartbeats, which end a connection whose other side has vanished."""
    return {
        zmq.HEARTBEAT_IVL: max(1, round(hold_time * 1000 / 3)),
        zmq.HEARTBEAT_TIMEOUT: max(1, round(hold_time * 1000)),
    }


def tcp_endpoint(address: bytes, port: int) -> str:
    """ZeroMQ's notation of a packed *address* and a TCP port."""
    if len(address) == 4:
        return f"tcp://{socket.inet_ntop(socket.AF_INET, address)}:{port}"
    return f"tcp://[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}"
