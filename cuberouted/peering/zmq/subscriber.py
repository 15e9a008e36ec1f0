"""A peer's voice over ZeroMQ: one SUB socket.

It is bound to the peer's device, or else it would follow the default route while the
tunnel is down, and believe a stranger there.

With CURVE a peer has to prove that it has the secret key to the public one that is tried.
While it changes its key there are two, and only failing tells which of them is in force.
"""

from __future__ import annotations

import itertools
import logging
import math
import socket
from collections import deque

import trio
import zmq
from zmq.utils.monitor import parse_monitor_message

from cuberouted.peering.messages import MAX_MESSAGE
from cuberouted.peering.transport import ConnectionState, PeerEndpoint
from cuberouted.peering.zmq.wait import ZmqReadable

log = logging.getLogger(__name__)

REVIVE_AFTER = 1.0
"""Seconds that ZeroMQ has to show that it tries again."""

_NO_HANDSHAKE = zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
_ENDED = zmq.Event.DISCONNECTED | zmq.Event.HANDSHAKE_FAILED_AUTH
_TRIES = zmq.Event.CONNECT_DELAYED | zmq.Event.CONNECT_RETRIED | zmq.Event.CONNECTED
_WATCHED = _ENDED | _TRIES | _NO_HANDSHAKE | zmq.Event.HANDSHAKE_SUCCEEDED

_monitor_names = itertools.count()


class Subscriber:
    """The `PeerSocket` of *end*. Close it when the tasks that wait on it have ended."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        end: PeerEndpoint,
        hold_time: float,
        secret_key: bytes | None = None,
    ) -> None:
        self._context = context
        self._end = end
        self._hold_time = hold_time
        self._secret_key = secret_key
        self._server_keys = deque(end.public_keys)
        self._topics: set[bytes] = set()
        self._link: ConnectionState | None = None
        self._given_up = self._reached = False
        self._next_key_at = math.inf
        self._connect()

    def subscribe(self, topic: bytes) -> None:
        """Hear *topic*; ZeroMQ tells the peer at once, and again on every new connection."""
        self._topics.add(topic)
        self._socket.setsockopt(zmq.SUBSCRIBE, topic)

    def unsubscribe(self, topic: bytes) -> None:
        """Hear *topic* no more."""
        self._topics.discard(topic)
        self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)

    def receive(self) -> list[bytes] | None:
        """The frames of the next message, or None."""
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    async def readable(self, deadline: float) -> None:
        """Wait until a message has come (or the socket is another), or *deadline*."""
        await self._wakeup.readable(deadline)

    async def link_change(self) -> ConnectionState:
        """Wait for a change of the connection; mends the one that ZeroMQ has given up."""
        while True:
            patience = trio.current_time() + REVIVE_AFTER if self._given_up else math.inf
            await self._monitor_wakeup.readable(min(patience, self._next_key_at))
            if trio.current_time() >= self._next_key_at:
                self._server_keys.rotate(-1)
                self._reconnect()
            event = self._next_event()
            if event is not None:
                link = self._link_after(event)
                if link is not self._link and link is not None:
                    self._link = link
                    return link
            elif self._given_up:
                self._reconnect()

    def close(self) -> None:
        """Leave."""
        _close(self._socket, self._monitor)

    def _next_event(self) -> zmq.Event | None:
        try:
            frames = self._monitor.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return zmq.Event(parse_monitor_message(frames)["event"])

    def _link_after(self, event: zmq.Event) -> ConnectionState | None:
        """What *event* makes of the connection."""
        self._note(event)
        match event:
            case zmq.Event.HANDSHAKE_SUCCEEDED:
                return ConnectionState.CONNECTED
            case zmq.Event.HANDSHAKE_FAILED_AUTH:
                return (
                    ConnectionState.KEY_REFUSED
                    if self._server_keys
                    else ConnectionState.TURNED_AWAY
                )
            case zmq.Event.HANDSHAKE_FAILED_PROTOCOL:
                return ConnectionState.NO_HANDSHAKE
            case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL if self._server_keys:
                return ConnectionState.NO_HANDSHAKE
            case zmq.Event.CONNECT_RETRIED if not self._reached:
                return ConnectionState.DISCONNECTED
            case zmq.Event.DISCONNECTED if self._link is ConnectionState.CONNECTED:
                return ConnectionState.DISCONNECTED
        return self._link

    def _note(self, event: zmq.Event) -> None:
        """Remember what *event* says of the next try.

        After being turned away, and after any message against the protocol (one too large
        is enough), libzmq 4.3 ends the connection for good: session_base_t::engine_error
        terminates where it would reconnect. Nothing tells of it but the missing next try.
        """
        if event & _TRIES:
            self._given_up = False
        elif event & _ENDED:
            self._given_up = True
        if event in (zmq.Event.CONNECTED, zmq.Event.CONNECT_DELAYED):
            self._reached = event == zmq.Event.CONNECTED
        if event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self._next_key_at = math.inf
        elif event & _NO_HANDSHAKE and len(self._server_keys) > 1:
            self._next_key_at = min(self._next_key_at, trio.current_time() + REVIVE_AFTER)

    def _reconnect(self) -> None:
        self._given_up, self._next_key_at = True, math.inf  # tries again if there is no descriptor
        self._wakeup.recheck()
        self._monitor_wakeup.recheck()
        old = self._socket, self._monitor
        try:
            self._connect()
        except zmq.ZMQError as error:
            log.warning("peer %s: no socket to reach it by: %s", self._end.key, error.strerror)
            return
        self._given_up = False
        _close(*old)

    def _connect(self) -> None:
        socket = self._context.socket(zmq.SUB)
        try:
            for option, value in self._options().items():
                socket.setsockopt(option, value)
            monitor = socket.get_monitor_socket(
                _WATCHED, f"inproc://monitor-{next(_monitor_names)}"
            )
        except zmq.ZMQError:
            socket.close(linger=0)
            raise
        for topic in self._topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._socket, self._monitor = socket, monitor
        self._wakeup = ZmqReadable(socket)
        self._monitor_wakeup = ZmqReadable(monitor)
        socket.connect(endpoint(self._end.address, self._end.port))

    def _options(self) -> dict[int, int | bytes]:
        options: dict[int, int | bytes] = {
            **heartbeats(self._hold_time),
            zmq.IPV6: len(self._end.address) == 16,
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
        if self._end.device is not None:
            options[zmq.BINDTODEVICE] = self._end.device.encode()
        return options


def _close(socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=0)


def heartbeats(hold_time: float) -> dict[int, int | bytes]:
    """ZMTP's own heartbeats, which end a connection whose other side has vanished."""
    return {
        zmq.HEARTBEAT_IVL: max(1, round(hold_time * 1000 / 3)),
        zmq.HEARTBEAT_TIMEOUT: max(1, round(hold_time * 1000)),
    }


def endpoint(address: bytes, port: int) -> str:
    """ZeroMQ's spelling of a packed *address*."""
    if len(address) == 4:
        return f"tcp://{socket.inet_ntop(socket.AF_INET, address)}:{port}"
    return f"tcp://[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}"
