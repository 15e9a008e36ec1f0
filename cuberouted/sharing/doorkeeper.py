"""Who may connect to our publishing socket: ZeroMQ's authentication protocol (ZAP).

The NULL mechanism asks only where ZMQ_ZAP_DOMAIN is set, and lets everybody in where
inproc://zeromq.zap.01 is not bound: so this has to stand before the socket that it
guards. Source: https://rfc.zeromq.org/spec/27/.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

import trio
import zmq

from cuberouted.model import Prefix
from cuberouted.seldom import Seldom
from cuberouted.sharing.wakeup import Wakeup

log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"cuberouted"

_MAPPED = bytes(10) + b"\xff\xff"


class Doorkeeper:
    """Admits the management addresses in ``peers`` (packed -> the peer's key)."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.peers: Mapping[bytes, str] = {}
        self.strangers = 0
        self._seldom = Seldom()
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ZAP_ENDPOINT)
        self._wakeup = Wakeup(self._socket)

    def close(self) -> None:
        """Close the socket; from here on the publishing socket admits nobody."""
        self._socket.close()

    async def serve(self) -> None:
        """Answer for ever."""
        while True:
            await self._wakeup.readable()
            self._answer_all()
            await trio.lowlevel.checkpoint()

    def _answer_all(self) -> None:
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(self._answer(frames), zmq.NOBLOCK)

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        _version, request_id, _domain, address, *_credentials = frames
        host = packed(address.decode())
        key = self.peers.get(host)
        if key is not None:
            return [b"1.0", request_id, b"200", b"OK", key.encode(), b""]
        self._turned_away(str(Prefix.host(host)).partition("/")[0])
        return [b"1.0", request_id, b"400", b"not a peer's management address", b"", b""]

    def _turned_away(self, address: str) -> None:
        self.strangers += 1
        if self._seldom.due(address, trio.current_time()) is not None:
            log.warning("turned away a connection from %s: not a peer's mgmt_ip", address)


def packed(address: str) -> bytes:
    """*address* as ZeroMQ tells it: IPv4 comes as ::ffff:a.b.c.d, link-local with its %zone.

    Raises:
      OSError: it is none.
    """
    host = address.partition("%")[0]
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    return socket.inet_pton(socket.AF_INET6, host).removeprefix(_MAPPED)
