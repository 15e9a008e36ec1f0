"""A process that simulates the OpenVPN servers of many hosts.

    python -m tests.bench.fake_management_server SOCKET...

Each Unix socket is a management interface with clients behind it. It implements the real
protocol and writes 1 KiB at a time, as OpenVPN does. The rows of its listings are prepared
when clients connect, because Python would need longer for a listing than OpenVPN. Methods are
called by lines on standard input, ``[server, "method", arguments...]`` in JSON; each result is
a line of JSON on standard output.
"""

from __future__ import annotations

import inspect
import json
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from cuberouted.util.tasks import run_in_thread, run_trio
from tests.fakes.openvpn import FakeOpenVPN
from tests.fakes.openvpn_listing import rows

WRITE_SIZE = 1024
"""Bytes that OpenVPN writes at once (manage.c, man_write)."""


class SmallWritesStream(trio.abc.Stream):
    """Sends WRITE_SIZE bytes at a time. ``busy``: seconds spent on replies longer than that."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.busy = 0.0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        begin = time.monotonic()
        for start in range(0, len(data), WRITE_SIZE):
            await self._stream.send_all(data[start : start + WRITE_SIZE])
        if len(data) > WRITE_SIZE:
            self.busy += time.monotonic() - begin

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream`."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._stream.aclose()


class FakeManagementServer(FakeOpenVPN):
    """One server; the addresses of its clients are those of `address`."""

    def __init__(self, number: int) -> None:
        super().__init__(wall=time.time)
        self._number = number
        self._rows: dict[int, tuple[bytes, bytes]] = {}
        self._next = 0
        self.stream: SmallWritesStream | None = None

    async def listen(self, path: str) -> None:
        """Accept management clients until cancelled."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen(1)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        while True:
            self.stream = SmallWritesStream(await listener.accept())
            self._streams.send_nowait(self.stream)

    def _command(self, line: bytes) -> None:
        if line != b"status 3":
            super()._command(line)
            return
        self.asked.append(line)
        clients, routes = zip(*self._rows.values(), strict=True) if self._rows else ((), ())
        self.say(b"".join((HEAD, *clients, MIDDLE, *routes, TAIL)))

    def join(self, count: int, *, announced: bool = False) -> list[str]:
        """Add *count* clients, *announced* or only listed. Returns their addresses."""
        joined = []
        for _ in range(count):
            number = self._next
            self._next = (number + 1) % ADDRESSES
            client_address = address(self._number, number)
            cid = self.connect(b"client%d" % number, client_address.encode(), quiet=not announced)
            [client, route] = [
                line + b"\r\n"
                for line in rows("2.6", [self.clients[cid]])
                if line.startswith((b"CLIENT_LIST\t", b"ROUTING_TABLE\t"))
            ]
            self._rows[cid] = client, route
            joined.append(client_address)
        return joined

    def disconnect(self, cid: int, why: bytes = b"SIGTERM[soft,remote-exit] received") -> None:
        """See `FakeOpenVPN`."""
        self._rows.pop(cid, None)
        super().disconnect(cid, why)

    # -- what can be called from standard input --

    def appear(self, count: int) -> float:
        """Add *count* clients at once, the last of them announced. Returns the Unix time."""
        self.join(count - 1)
        now = time.time()
        self.join(1, announced=True)
        return now

    def listings(self) -> int:
        """How many listings have been requested."""
        return self.asked.count(b"status 3")

    def leave(self) -> float:
        """Remove all clients at once; the last one's end is logged. Returns the Unix time."""
        last = list(self.clients)[-1]
        self.clients = {last: self.clients[last]}
        self._rows.clear()
        self._next = 0
        now = time.time()
        self.disconnect(last)
        return now

    async def churn(self, rate: int, seconds: float) -> dict[str, Any]:
        """Add and remove *rate* clients a second, one by one at an even pace.

        Returns the events, the share of time spent on listings, and the duration.
        """
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
                [new] = self.join(1, announced=True)
                events.append((now, "join", new))
                done += 1
            await trio.sleep(1 / rate)
        took = time.monotonic() - begin
        return {"events": events, "listing": (stream.busy - busy) / took, "took": took}


ADDRESSES = 1 << 16
"""Addresses of one server's clients; after the last the first is used again."""

_lines = rows("2.6", [])
_at = next(n for n, line in enumerate(_lines) if b"ROUTING_TABLE" in line)
HEAD = b"".join(line + b"\r\n" for line in _lines[:_at])
MIDDLE = _lines[_at] + b"\r\n"
TAIL = b"".join(line + b"\r\n" for line in _lines[_at + 1 :])


def address(server: int, client: int) -> str:
    """A client's address; all are in 10.64.0.0/10."""
    return f"10.{64 + server}.{client >> 8}.{client & 255}"


async def _serve_calls(servers: list[FakeManagementServer]) -> None:
    methods: dict[str, Callable[..., Any]] = {
        "join": FakeManagementServer.join,
        "appear": FakeManagementServer.appear,
        "leave": FakeManagementServer.leave,
        "listings": FakeManagementServer.listings,
        "churn": FakeManagementServer.churn,
        "connect": partial(FakeManagementServer.join, announced=True),
    }
    while line := await run_in_thread(sys.stdin.readline):
        number, name, *arguments = json.loads(line)
        result = methods[name](servers[number], *arguments)
        if inspect.isawaitable(result):
            result = await result
        print(json.dumps(result), flush=True)


async def main(paths: list[str]) -> None:
    """Serve until standard input ends."""
    servers = [FakeManagementServer(number) for number in range(1, len(paths) + 1)]
    async with trio.open_nursery() as nursery:
        for server, path in zip(servers, paths, strict=True):
            nursery.start_soon(server.run)
            nursery.start_soon(partial(server.listen, path))
        print(json.dumps("ready"), flush=True)
        await _serve_calls(servers)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run_trio(main, sys.argv[1:])
