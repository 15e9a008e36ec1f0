"""What one address may use of a listener, and what is left to the others; in no real time."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing

from cuberouted.api.http import Client, Endpoint, Reply
from cuberouted.api.http_server import HttpServer
from cuberouted.api.limits import (
    ACCEPT_RETRY,
    MAX_ANSWERS,
    MAX_CONNECTIONS,
    MAX_STREAMS,
    MIN_IDLE,
    QUEUE_TIME,
)
from cuberouted.events import Event, NodeProblem


async def hello(_request):
    return Reply(b"hello")


async def forever(_request):
    await trio.sleep_forever()


async def ticks(_request):
    async def parts():
        yield b""
        await trio.sleep_forever()

    return parts()


ENDPOINTS = (
    Endpoint("GET", "/hello", hello),
    Endpoint("GET", "/forever", forever),
    Endpoint("GET", "/ticks", ticks, stream=True),
)


class Net(trio.abc.Listener[trio.abc.Stream]):
    """A server, and clients from any origin. ``error``: what accepting fails with, once."""

    def __init__(self):
        self.events: list[Event] = []
        self.error = None
        self._send, self._receive = trio.open_memory_channel(1000)
        self._origins = {}
        self.server = HttpServer(ENDPOINTS, self.events.append, "web_listen")

    async def run(self):
        await self.server.serve(self, self._client_of)

    async def _client_of(self, stream):
        return Client("somebody", reads=True, changes=False, origin=self._origins.pop(stream))

    async def accept(self):
        stream = await self._receive.receive()
        error, self.error = self.error, None
        if error is not None:
            self._send.send_nowait(stream)  # it is still in the backlog
            raise error
        return stream

    async def aclose(self):
        """See `trio.abc.AsyncResource`."""

    async def connect(self, origin, target=None):
        """A connection; everything is done that can be done about its request."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._origins[theirs] = origin
        self._send.send_nowait(theirs)
        if target is not None:
            await ours.send_all(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await trio.testing.wait_all_tasks_blocked()
        return ours

    async def first_line(self, stream):
        """Of the reply; empty if the connection was closed without one."""
        return bytes(await stream.receive_some()).partition(b"\r\n")[0]

    async def ask(self, origin):
        return await self.first_line(await self.connect(origin, "/hello"))


@pytest.fixture
def net(nursery):
    net = Net()
    nursery.start_soon(net.run)
    return net


OK, UNAVAILABLE = b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Service Unavailable"


async def test_one_origin_has_half_of_the_streams(net, mock_clock):
    streams = {
        origin: [await net.connect(origin, "/ticks") for _ in range(MAX_STREAMS // 2 + 1)]
        for origin in ("a", "b")
    }
    for one in streams.values():
        *served, refused = one
        assert {await net.first_line(stream) for stream in served} == {OK}
        reply = bytes(await refused.receive_some())
        assert reply.startswith(UNAVAILABLE)
    assert b'"32 streams to b are open, which is the limit"' in reply
    third = await net.connect("c", "/ticks")
    assert await net.first_line(third) == UNAVAILABLE
    await streams["a"][0].aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert await net.first_line(await net.connect("a", "/ticks")) == OK
    assert await net.ask("c") == OK


async def test_one_origin_has_half_of_the_answers(net, autojump_clock):
    busy = [await net.connect("a", "/forever") for _ in range(MAX_ANSWERS)]
    began = trio.current_time()
    assert await net.ask("b") == OK
    assert trio.current_time() == began
    assert await net.first_line(busy[-1]) == UNAVAILABLE
    assert trio.current_time() - began == pytest.approx(QUEUE_TIME)
    assert await net.ask("a") == UNAVAILABLE
    for stream in busy:
        await stream.aclose()


async def test_one_origin_has_half_of_the_connections(net, mock_clock):
    targets = ["/ticks"] * (MAX_STREAMS // 2)
    targets += ["/forever"] * (MAX_CONNECTIONS // 2 - len(targets))
    busy = [await net.connect("a", target) for target in targets]
    for _ in range(10):
        refused = await net.connect("a", "/hello")
        with pytest.raises(trio.BrokenResourceError):
            await refused.send_all(b"more")
    assert await net.ask("b") == OK
    await busy[0].aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert await net.first_line(await net.connect("a", "/ticks")) == OK


async def test_an_idle_connection_gives_way_to_another_of_its_origin_only(net, mock_clock):
    other = await net.connect("b")
    idle = [await net.connect("a") for _ in range(MAX_CONNECTIONS // 2)]
    mock_clock.jump(MIN_IDLE)
    assert await net.ask("a") == OK
    assert await net.first_line(idle[0]) == b""
    await other.send_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await net.first_line(other) == OK
    await idle[1].send_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await net.first_line(idle[1]) == OK


async def test_without_origin_there_are_no_shares(net, mock_clock):
    streams = [await net.connect("", "/ticks") for _ in range(MAX_STREAMS)]
    assert {await net.first_line(stream) for stream in streams} == {OK}
    idle = [await net.connect("") for _ in range(MAX_CONNECTIONS - MAX_STREAMS)]
    await idle[0].send_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await net.first_line(idle[0]) == OK


async def test_without_file_descriptors_idle_connections_give_way(net, autojump_clock):
    idle = [await net.connect("a") for _ in range(4)]
    await trio.sleep(MIN_IDLE)
    net.error = OSError(errno.EMFILE, "Too many open files")
    began = trio.current_time()
    assert await net.ask("b") == OK
    assert trio.current_time() - began == pytest.approx(ACCEPT_RETRY)
    for stream in idle[:2]:
        assert await net.first_line(stream) == b""
    await idle[2].send_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await net.first_line(idle[2]) == OK
    net.error = OSError(errno.ENFILE, "Too many open files in system")
    assert await net.ask("b") == OK
    why = "cannot accept connections: Too many open files"
    assert net.events == [NodeProblem(what="web_listen", why=why)]
