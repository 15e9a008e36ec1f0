"""A process that stands in for the OpenVPN servers of many hosts.

    python -m tests.bench.fake_management_server SOCKET...

Each Unix socket is a management interface with clients behind it. It speaks the real
protocol and sends as OpenVPN does, in pieces of 1 KiB; only its listings are kept ready,
row by row, because Python would need longer for one than OpenVPN. It does what it is told on
standard input, a JSON array a line, and answers likewise.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from tests.fakes.openvpn import FakeOpenVPN
from tests.fakes.openvpn_listing import rows

PIECE = 1024
"""Bytes that OpenVPN writes at once (manage.c, man_write)."""


class Pieces(trio.abc.Stream):
    """A stream that sends in small pieces. ``busy``: seconds spent on answers of many."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.busy = 0.0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends it, bit by bit."""
        begin = time.monotonic()
        for start in range(0, len(data), PIECE):
            await self._stream.send_all(data[start : start + PIECE])
        if len(data) > PIECE:
            self.busy += time.monotonic() - begin

    async def wait_send_all_might_not_block(self) -> None:
        """Required of a stream."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What was asked."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Closes it."""
        await self._stream.aclose()


class StandIn(FakeOpenVPN):
    """One server; its clients' addresses are those of `address`."""

    def __init__(self, number: int) -> None:
        super().__init__(wall=time.time)
        self._number = number
        self._rows: dict[int, tuple[bytes, bytes]] = {}
        self._next = 0
        self.stream: Pieces | None = None

    async def listen(self, path: str) -> None:
        """Takes management clients on, for ever."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen(1)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        while True:
            self.stream = Pieces(await listener.accept())
            self._streams.send_nowait(self.stream)

    def _command(self, line: bytes) -> None:
        if line != b"status 3":
            super()._command(line)
            return
        self.asked.append(line)
        clients, routes = zip(*self._rows.values(), strict=True) if self._rows else ((), ())
        self.say(b"".join((HEAD, *clients, MIDDLE, *routes, TAIL)))

    def join(self, count: int, *, loudly: bool = False) -> list[str]:
        """So many more clients, *loudly* or only listed: their addresses."""
        joined = []
        for _ in range(count):
            number = self._next
            self._next = (number + 1) % MOST
            where = address(self._number, number)
            cid = self.connect(b"client%d" % number, where.encode(), quiet=not loudly)
            [client, route] = [
                line + b"\r\n"
                for line in rows("2.6", [self.clients[cid]])
                if line.startswith((b"CLIENT_LIST\t", b"ROUTING_TABLE\t"))
            ]
            self._rows[cid] = client, route
            joined.append(where)
        return joined

    def disconnect(self, cid: int, why: bytes = b"SIGTERM[soft,remote-exit] received") -> None:
        """A client has gone."""
        self._rows.pop(cid, None)
        super().disconnect(cid, why)

    # -- what it can be told --

    def appear(self, count: int) -> float:
        """So many clients at once; the last is announced. Returns when."""
        self.join(count - 1)
        now = time.time()
        self.join(1, loudly=True)
        return now

    def listings(self) -> int:
        """How often the listing was asked for."""
        return self.asked.count(b"status 3")

    def leave(self) -> float:
        """Everybody leaves at once; the log tells of the last. Returns when."""
        last = list(self.clients)[-1]
        self.clients = {last: self.clients[last]}
        self._rows.clear()
        self._next = 0
        now = time.time()
        self.disconnect(last)
        return now

    async def churn(self, rate: int, seconds: float) -> dict[str, Any]:
        """So many clients a second come, and as many go, one by one at an even pace."""
        stream = self.stream
        assert stream
        busy, begin, done = stream.busy, time.monotonic(), 0
        events = []
        while (elapsed := time.monotonic() - begin) < seconds:
            while done < rate * elapsed:
                oldest = next(iter(self.clients))
                gone = self.clients[oldest].address.decode()
                self.disconnect(oldest)
                events.append((time.time(), "leave", gone))
                now = time.time()
                [new] = self.join(1, loudly=True)
                events.append((now, "join", new))
                done += 1
            await trio.sleep(1 / rate)
        took = time.monotonic() - begin
        return {"events": events, "listing": (stream.busy - busy) / took, "took": took}


MOST = 1 << 16
"""Addresses of one server's clients; then they begin anew."""

_lines = rows("2.6", [])
_at = next(n for n, line in enumerate(_lines) if b"ROUTING_TABLE" in line)
HEAD = b"".join(line + b"\r\n" for line in _lines[:_at])
MIDDLE = _lines[_at] + b"\r\n"
TAIL = b"".join(line + b"\r\n" for line in _lines[_at + 1 :])


def address(server: int, client: int) -> str:
    """A client's address: all are in 10.64.0.0/10."""
    return f"10.{64 + server}.{client >> 8}.{client & 255}"


async def _obey(servers: list[StandIn]) -> None:
    deeds: dict[str, Callable[..., Any]] = {
        "join": StandIn.join,
        "appear": StandIn.appear,
        "leave": StandIn.leave,
        "listings": StandIn.listings,
        "churn": StandIn.churn,
    }
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        number, what, *arguments = json.loads(line)
        if what == "loudly":
            result: Any = StandIn.join(servers[number], *arguments, loudly=True)
        else:
            result = deeds[what](servers[number], *arguments)
        if what == "churn":
            result = await result
        print(json.dumps(result), flush=True)


async def main(paths: list[str]) -> None:
    """Serves until standard input ends."""
    servers = [StandIn(number) for number in range(1, len(paths) + 1)]
    async with trio.open_nursery() as nursery:
        for server, path in zip(servers, paths, strict=True):
            nursery.start_soon(server.run)
            nursery.start_soon(partial(server.listen, path))
        print(json.dumps("ready"), flush=True)
        await _obey(servers)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
