"""The web listener on real sockets of this host."""

from __future__ import annotations

import itertools
import socket
import struct

import pytest
import trio

from cuberouted.api.http import Endpoint, Reply
from cuberouted.api.http_server import HttpServer
from cuberouted.config import ListenAddress
from cuberouted.web import listener
from cuberouted.web.listener import SEND_BUFFER, UNACKNOWLEDGED, network_of, serve
from cuberouted.web.request_filter import WebRequestFilter, plain_address

REQUEST = b"GET /hello HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
PATIENCE = 20
RESET = struct.pack("ii", 1, 0)


class Listening:
    """A web listener. ``problems``: what it has reported, and ``events`` of its server."""

    def __init__(self, nursery, address, port):
        self.listen = ListenAddress(address, port)
        self.problems = []
        self.events = []
        self.clients = []
        self._nursery = nursery
        self._changed = trio.Event()

    def start(self):
        async def hello(_request):
            return Reply(b"hello")

        endpoints = [Endpoint("GET", "/hello", hello)]
        server = HttpServer(
            endpoints, self.events.append, "web_listen", WebRequestFilter(frozenset())
        )
        self._nursery.start_soon(serve, self.listen, server, self._on_problem)
        return self

    def _on_problem(self, why):
        self.problems.append(why)
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, why):
        with trio.fail_after(PATIENCE):
            while why not in self.problems:
                await self._changed.wait()

    async def ask(self, address=None, host=b"localhost"):
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream(address or self.listen.address, self.listen.port)
            async with stream:
                await stream.send_all(REQUEST % host)
                return b"".join([data async for data in stream])


@pytest.fixture
def listening(nursery, unused_port):
    return Listening(nursery, "127.0.0.1", unused_port())


async def test_it_serves_its_address(listening):
    listening.start()
    await listening.until("")
    received = await listening.ask()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\nhello")
    assert listening.problems == [""]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_that_is_not_there_yet_can_be_bound(nursery, address):
    listening = Listening(nursery, address, 9657)
    listening.start()
    await listening.until("")


async def test_a_port_in_use_is_reported_and_tried_again(listening):
    with socket.create_server(tuple(listening.listen)):
        listening.start()
        await listening.until("the port is in use (`ss -ltnp` shows by what): use another one")
    await listening.until("")
    assert (await listening.ask()).startswith(b"HTTP/1.1 200 ")


async def test_the_delay_between_attempts_grows(listening, autojump_clock, monkeypatch):
    def fail(_listen):
        attempts.append(trio.current_time())
        raise PermissionError(13, "Permission denied")

    attempts: list[float] = []
    monkeypatch.setattr(listener, "_bind", fail)
    listening.start()
    await trio.sleep(200)
    delays = [after - before for before, after in itertools.pairwise(attempts)]
    assert delays[:8] == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 16, 30])
    assert set(listening.problems) == {"not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"}


async def test_all_addresses_are_those_of_ipv4_too(nursery, unused_port):
    listening = Listening(nursery, "::", unused_port("::")).start()
    await listening.until("")
    for address, host in (("127.0.0.2", b"127.0.0.2"), ("::1", b"[::1]"), ("127.0.0.1", b"[::1]")):
        assert (await listening.ask(address, host)).startswith(b"HTTP/1.1 200 ")
    for address, host in (("127.0.0.2", b"127.0.0.3"), ("::1", b"[::]"), ("127.0.0.1", b"0.0.0.0")):
        assert (await listening.ask(address, host)).startswith(b"HTTP/1.1 421 ")


async def test_a_client_may_leave_at_any_moment(listening):
    listening.start()
    await listening.until("")
    whole = REQUEST % b"localhost"
    for length in (0, 1, 20, len(whole) - 1, len(whole), len(whole) + 1):
        for option in (RESET, None):
            with socket.create_connection(tuple(listening.listen)) as sock:
                sock.sendall((whole * 2)[:length])
                if option is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            await trio.lowlevel.checkpoint()
    assert (await listening.ask()).startswith(b"HTTP/1.1 200 ")
    assert listening.events == []


async def test_connections_that_are_reset_before_they_are_accepted_end_nothing(listening):
    listening.start()
    await listening.until("")
    for _ in range(20):  # nothing is accepted meanwhile
        with socket.create_connection(tuple(listening.listen)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    assert (await listening.ask()).startswith(b"HTTP/1.1 200 ")
    assert listening.events == []


async def test_connections_have_a_bounded_buffer_and_end_without_acknowledgements(listening):
    address = tuple(listening.listen)
    with listener._bind(listening.listen) as sock, socket.create_connection(address):
        accepted, _ = await sock.accept()
        with accepted:
            size = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert 0 < size <= 2 * SEND_BUFFER  # the kernel doubles it, within wmem_max
            timeout = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert timeout == UNACKNOWLEDGED


def test_an_address_is_plain():
    assert plain_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("10.0.0.1") == "10.0.0.1"


def test_one_host_may_have_many_ipv6_addresses():
    assert network_of("2001:db8::1") == network_of("2001:db8::2:3:4:5") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") == "2001:db8:0:1::/64"
    assert network_of("10.0.0.1") == "10.0.0.1"
