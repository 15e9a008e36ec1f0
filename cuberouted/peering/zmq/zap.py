"""Who may connect to our publishing socket: ZeroMQ's authentication protocol (ZAP).

A peer is identified by its address, or by its public key where CURVE encrypts. A client that
does not know the server's public key fails in the handshake, before ZAP; it is only counted.

With the NULL mechanism libzmq asks only if ZMQ_ZAP_DOMAIN is set, and accepts every connection
while nothing is bound to inproc://zeromq.zap.01: create the authenticator before the socket
that it guards. Source: https://rfc.zeromq.org/spec/27/.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping

import trio
import zmq
from zmq.utils import z85

from cuberouted.events import ConnectionRejected, Emit, PeerWarning
from cuberouted.model import format_address
from cuberouted.peering.zmq.wait import ZmqReadable
from cuberouted.util.ratelimit import LogRateLimit

MAX_TOPICS = 100
"""Subscriptions of one peer. It needs three, and for a moment three more per lost connection."""
BAN_TIME = 60
"""Seconds for which a peer that exceeded `MAX_TOPICS` is rejected."""

MAX_REJECTION_EVENTS = 30
"""`ConnectionRejected` events a minute, and one of a kind: strangers could push all others out of
the ring. Each has the number of connections since the last."""

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"cuberouted"
HANDSHAKE_FAILED = zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
"""Monitor events of connections that failed before ZAP was asked."""
FAILED_HANDSHAKE_TEXT = (
    "a connection without a handshake: not cuberouted, or keys that do not match"
)

_IPV4_MAPPED = bytes(10) + b"\xff\xff"


class SubscriptionLimit:
    """Counts the topics that each peer subscribes to."""

    def __init__(self) -> None:
        self._topics: dict[str, set[bytes]] = {}

    def add(self, frame: bytes, peer: str | None) -> bool:
        """Count the subscription or unsubscription in *frame*; return whether *peer* has too many.

        An unsubscription without *peer* is ZeroMQ's: the last connection with that topic is
        closed.
        """
        topic = frame[1:]
        if frame[:1] == b"\x00":
            for topics in self._topics.values():
                topics.discard(topic)
        elif peer is not None:
            topics = self._topics.setdefault(peer, set())
            topics.add(topic)
            return len(topics) > MAX_TOPICS
        return False

    def count(self, peer: str) -> int:
        """How many topics *peer* subscribes to."""
        return len(self._topics.get(peer, ()))

    def forget(self, peer: str) -> None:
        """Forget *peer*'s topics; its connections are closed."""
        self._topics.pop(peer, None)


class ZapAuthenticator:
    """Accepts the peers in ``peers``: packed address or public key (Z85) -> the peer's key."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], emit: Emit) -> None:
        self.peers: Mapping[bytes, str] = {}
        self.rejected_connections = 0
        self._banned_until: dict[str, float] = {}
        self._emit = emit
        self._event_limit = LogRateLimit()
        self._total_limit = LogRateLimit(burst=MAX_REJECTION_EVENTS)
        self._unreported = 0
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ZAP_ENDPOINT)
        self._readable = ZmqReadable(self._socket)

    def allows(self, key: str) -> bool:
        """Whether connections of the peer *key* are accepted now."""
        banned = trio.current_time() < self._banned_until.get(key, -math.inf)
        return key in self.peers.values() and not banned

    def ban(self, key: str) -> None:
        """Reject the peer *key* for `BAN_TIME`, because it exceeded `MAX_TOPICS`."""
        self._banned_until[key] = trio.current_time() + BAN_TIME
        why = f"subscribed to more than {MAX_TOPICS} topics: rejected for {BAN_TIME} s"
        self._emit(PeerWarning(peer=key, why=why))

    def close(self) -> None:
        """Close the socket. From here on libzmq rejects every connection."""
        self._socket.close()

    async def serve(self) -> None:
        """Answer libzmq's requests, until cancelled."""
        while True:
            await self._readable.readable()
            self._answer_all()
            await trio.lowlevel.checkpoint()

    async def watch(self, monitor: zmq.Socket[bytes]) -> None:
        """Count the failed handshakes that *monitor* reports, until cancelled."""
        readable = ZmqReadable(monitor)
        while True:
            await readable.readable()
            while _receive_one(monitor):
                self._count_rejected(FAILED_HANDSHAKE_TEXT)
            await trio.lowlevel.checkpoint()

    def _answer_all(self) -> None:
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(self._answer(frames), zmq.NOBLOCK)

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        _version, request_id, _domain, address, _identity, mechanism, *credentials = frames
        host = parse_address(address.decode())
        encrypted = mechanism == b"CURVE"
        key = self.peers.get(z85.encode(credentials[0]) if encrypted else host)
        if key is not None and self.allows(key):
            return [b"1.0", request_id, b"200", b"OK", key.encode(), b""]
        if key is not None:
            return [b"1.0", request_id, b"400", b"too many subscriptions", b"", b""]
        why = "not a peer's public key" if encrypted else "not a peer's mgmt_ip"
        self._count_rejected(f"a connection from {format_address(host)}: {why}")
        return [b"1.0", request_id, b"400", why.encode(), b"", b""]

    def _count_rejected(self, what: str) -> None:
        self.rejected_connections += 1
        self._unreported += 1
        now = trio.current_time()
        if self._event_limit.allow(what, now) is None or self._total_limit.allow("", now) is None:
            return
        self._emit(ConnectionRejected(why=what, count=self._unreported))
        self._unreported = 0


def _receive_one(monitor: zmq.Socket[bytes]) -> bool:
    try:
        return bool(monitor.recv_multipart(zmq.NOBLOCK))
    except zmq.Again:
        return False


def parse_address(text: str) -> bytes:
    """Pack an address as ZAP writes it: IPv4 as ::ffff:a.b.c.d, link-local with its %zone.

    Raises:
      OSError: *text* is not an address.
    """
    host = text.partition("%")[0]
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    return socket.inet_pton(socket.AF_INET6, host).removeprefix(_IPV4_MAPPED)
