"""Asks the endpoints of a daemon, and an HTTP server, without a socket."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import TypeVar

import msgspec
import trio
import trio.testing

from cuberouted.api.http import Client, Endpoint, Endpoints, Reply
from cuberouted.api.http_server import HttpServer

T = TypeVar("T")

ROOT = Client("root", reads=True, changes=True)


async def call(
    endpoints: Iterable[Endpoint],
    method: str,
    target: str,
    body: bytes = b"",
    client: Client = ROOT,
) -> bytes:
    """The body of the reply. Raises HttpError."""
    endpoint, request = Endpoints(endpoints).find(method, target, body, client)
    reply = await endpoint.handler(request)
    if isinstance(reply, msgspec.Struct):
        return msgspec.json.encode(reply)
    if isinstance(reply, Reply):
        return reply.body
    async with aclosing(reply):
        return b"".join([part async for part in reply])


async def get(endpoints: Iterable[Endpoint], target: str, kind: type[T]) -> T:
    """The reply to GET *target*, as a *kind*. Raises HttpError."""
    return msgspec.json.decode(await call(endpoints, "GET", target), type=kind)


async def exchange(server: HttpServer, pieces: Iterable[bytes], client: Client = ROOT) -> bytes:
    """What *server* sends on a connection on which it receives *pieces* and their end."""
    stream = ScriptedStream(pieces)
    await server.handle(stream, client)
    return b"".join(stream.sent)


class ScriptedStream(trio.abc.HalfCloseableStream):
    """Delivers bytes piece by piece, and then its end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._rest = [piece for piece in pieces if piece][::-1]
        self.sent: list[bytes] = []

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`."""
        if not self._rest:
            await trio.testing.wait_all_tasks_blocked()  # what was asked for is answered first
            return b""
        await trio.lowlevel.checkpoint()
        piece = self._rest.pop()
        if max_bytes is not None and len(piece) > max_bytes:
            self._rest.append(piece[max_bytes:])
        return piece[:max_bytes]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        await trio.lowlevel.checkpoint()
        self.sent.append(bytes(data))

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream`."""

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
