"""Who may connect to our publishing socket: ZeroMQ's authentication protocol (ZAP).

A peer is told by its address, or by its public key where CURVE encrypts. Who does not know
the server's public key does not come as far as that, and is only counted.

The NULL mechanism asks only where ZMQ_ZAP_DOMAIN is set, and lets everybody in where
inproc://zeromq.zap.01 is not bound: so this has to stand before the socket that it
guards. Source: https://rfc.zeromq.org/spec/27/.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Mapping

import trio
import zmq
from zmq.utils import z85

from cuberouted.model import format_address
from cuberouted.peering.zmq.wait import ZmqReadable
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

MAX_TOPICS = 100
"""A peer needs two, and for a moment two more for each connection that it lost."""


class SubscriptionLimit:
    """The topics of every peer."""

    def __init__(self) -> None:
        self._topics: dict[str, set[bytes]] = {}

    def heard(self, frame: bytes, peer: str | None) -> bool:
        """Take in what a subscriber sent; whether *peer* holds too many topics with it.

        Without *peer* ZeroMQ tells that the last connection with that topic has ended.
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

    def forget(self, peer: str) -> None:
        """Its connections have been ended."""
        self._topics.pop(peer, None)


log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"cuberouted"

_MAPPED = bytes(10) + b"\xff\xff"


FAILED = zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
"""The events of connections that never came to be asked for here."""
BAN_TIME = 60
"""Seconds for which a peer is turned away that has asked for too much."""
NO_HANDSHAKE = "a connection without a handshake: no cuberouted, or keys that do not match"


class ZapAuthenticator:
    """Admits who is in ``peers``: packed address or public key in Z85 -> the peer's key."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.peers: Mapping[bytes, str] = {}
        self.rejected_connections = 0
        self._banished: dict[str, float] = {}
        self._log_limit = LogRateLimit()
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ZAP_ENDPOINT)
        self._wakeup = ZmqReadable(self._socket)

    def allows(self, key: str) -> bool:
        """Whether the peer *key* may come in now."""
        banished = trio.current_time() < self._banished.get(key, -math.inf)
        return key in self.peers.values() and not banished

    def ban(self, key: str) -> None:
        """Turn the peer *key* away for a while."""
        self._banished[key] = trio.current_time() + BAN_TIME
        log.warning(
            "peer %s: subscribed to more than %d topics: turned away for %d s",
            key,
            MAX_TOPICS,
            BAN_TIME,
        )

    def close(self) -> None:
        """Close the socket; from here on the publishing socket admits nobody."""
        self._socket.close()

    async def serve(self) -> None:
        """Answer for ever."""
        while True:
            await self._wakeup.readable()
            self._answer_all()
            await trio.lowlevel.checkpoint()

    async def watch(self, monitor: zmq.Socket[bytes]) -> None:
        """Count the connections that *monitor* tells to have failed; for ever."""
        wakeup = ZmqReadable(monitor)
        while True:
            await wakeup.readable()
            while _takes_one(monitor):
                self._turned_away(NO_HANDSHAKE)
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
        host = packed(address.decode())
        encrypted = mechanism == b"CURVE"
        key = self.peers.get(z85.encode(credentials[0]) if encrypted else host)
        if key is not None and self.allows(key):
            return [b"1.0", request_id, b"200", b"OK", key.encode(), b""]
        if key is not None:
            return [b"1.0", request_id, b"400", b"too many subscriptions", b"", b""]
        why = "not a peer's public key" if encrypted else "not a peer's mgmt_ip"
        self._turned_away(f"a connection from {format_address(host)}: {why}")
        return [b"1.0", request_id, b"400", why.encode(), b"", b""]

    def _turned_away(self, whom: str) -> None:
        self.rejected_connections += 1
        quiet = self._log_limit.allow(whom, trio.current_time())
        if quiet is not None:
            log.warning("rejected %s%s", whom, suppressed_note(quiet))


def _takes_one(monitor: zmq.Socket[bytes]) -> bool:
    try:
        return bool(monitor.recv_multipart(zmq.NOBLOCK))
    except zmq.Again:
        return False


def packed(address: str) -> bytes:
    """*address* as ZeroMQ tells it: IPv4 comes as ::ffff:a.b.c.d, link-local with its %zone.

    Raises:
      OSError: it is none.
    """
    host = address.partition("%")[0]
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    return socket.inet_pton(socket.AF_INET6, host).removeprefix(_MAPPED)
