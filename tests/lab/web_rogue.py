"""Attacks on a web listener. Each runs as a process: python -m tests.lab.web_rogue ATTACK ADDRESS.

All are bounded: they end after `SECONDS`, and print "done" and how many connections they had at
most. An address and nothing else is attacked: a host of the lab.
"""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from cuberouted.util.tasks import run_trio

PORT = 9657
SECONDS = 6.0
PAUSE = 0.05
"""Seconds until a connection that was closed is opened again: the lab's hosts share a processor."""

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
STATUS = GET % (b"/v1/status", b"")
PAGE = GET % (b"/", b"")
SEVERAL = b"".join(GET % (path, b"") for path in (b"/metrics", b"/v1/clients", b"/v1/status", b"/"))


class Connections:
    """Opens connections again and again. ``most``: how many there were at once."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._open = 0
        self.most = 0
        self.opened = 0

    async def hold(self, use: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        """Keep one connection open, and *use* it, for ever."""
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                sock = trio.socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                async with trio.SocketStream(sock) as stream:
                    await sock.connect((self._address, PORT))
                    self._open += 1
                    self.opened += 1
                    self.most = max(self.most, self._open)
                    try:
                        await use(stream)
                    finally:
                        self._open -= 1
            await trio.sleep(PAUSE)


async def idle(stream: trio.SocketStream) -> None:
    """Send nothing."""
    await stream.receive_some()


async def slow(stream: trio.SocketStream) -> None:
    """Send a byte of a request a second."""
    for byte in STATUS:
        await stream.send_all(bytes([byte]))
        await trio.sleep(1)


async def unread_events(stream: trio.SocketStream) -> None:
    """Ask for the stream of events, and never read it."""
    await stream.send_all(GET % (b"/events", b""))
    await trio.sleep_forever()


async def unread_answers(stream: trio.SocketStream) -> None:
    """Ask for as many answers as one connection gets, and never read them."""
    await stream.send_all(PAGE * 100)
    await trio.sleep_forever()


async def flood(stream: trio.SocketStream) -> None:
    """Ask again and again."""
    while True:
        await stream.send_all(SEVERAL)
        if not await stream.receive_some():
            return


async def many_fields(stream: trio.SocketStream) -> None:
    """Send the heads that take longest to parse."""
    await stream.send_all(GET % (b"/v1/status", b"a:\r\n" * 4000))
    await stream.receive_some()


ATTACKS: dict[str, tuple[int, Callable[[trio.SocketStream], Awaitable[None]]]] = {
    "idle": (1000, idle),
    "slow": (300, slow),
    "unread_events": (100, unread_events),
    "unread_answers": (100, unread_answers),
    "flood": (100, flood),
    "many_fields": (100, many_fields),
}
"""How many connections at once, and what each does."""


async def attack(name: str, address: str) -> None:
    """Carry it out."""
    count, use = ATTACKS[name]
    connections = Connections(address)
    with trio.move_on_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(connections.hold, use)
            await trio.sleep(0.5)
            print("begun", flush=True)
    print(f"done {connections.most} {connections.opened}", flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    run_trio(attack, sys.argv[1], sys.argv[2])
