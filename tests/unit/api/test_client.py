"""The commands' side, against real sockets: our own server, and one that replies what it likes."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from cuberouted.api import client
from cuberouted.api.client import get, lines, open_lines, post
from cuberouted.api.http import LINES, Endpoint, HttpError
from cuberouted.api.http_server import HttpServer
from cuberouted.api.protocol import ControlError, NotRunningError, RefusedError
from cuberouted.api.server import listening, serve


class Greeting(msgspec.Struct):
    hello: str


async def greet(request):
    return Greeting(request.argument or "wörld")


async def echo(request):
    return request.json(Greeting)


async def count(request):
    async def parts():
        yield b""
        for number in range(int(request.query.get("to", "3"))):
            yield b"line %d\n\npar" % number
            await trio.lowlevel.checkpoint()
            yield b"t\n"
        if "fail" in request.query:
            raise ArithmeticError("a bug")

    return parts()


async def refuse(request):
    raise HttpError(409, "not now")


class Limit(msgspec.Struct):
    to: int = 3
    fail: str = ""


ENDPOINTS = (
    Endpoint("GET", "/hello", greet),
    Endpoint("GET", "/hello/{name}", greet),
    Endpoint("POST", "/hello", echo, body=Greeting),
    Endpoint("GET", "/count", count, content_type=LINES, stream=True, parameters=Limit),
    Endpoint("GET", "/refuse", refuse),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.sock"


@pytest.fixture
async def served(path, nursery):
    with listening(path) as control:
        server = HttpServer(ENDPOINTS, lambda _event: None, "control socket")
        nursery.start_soon(serve, control, server)
        yield path


in_thread = trio.to_thread.run_sync


async def test_get_and_post(served):
    assert await in_thread(get, served, "/hello", Greeting) == Greeting("wörld")
    assert await in_thread(get, served, "/hello/a%2Fb", Greeting) == Greeting("a/b")
    assert await in_thread(post, served, "/hello", Greeting("x"), Greeting) == Greeting("x")
    with pytest.raises(RefusedError, match="invalid body: ") as caught:
        await in_thread(post, served, "/hello", None, Greeting)
    assert caught.value.status == 400


async def test_an_error_has_its_status_and_text(served):
    with pytest.raises(RefusedError) as caught:
        await in_thread(get, served, "/refuse", Greeting)
    assert (caught.value.status, str(caught.value)) == (409, "not now")
    with pytest.raises(RefusedError, match="unknown path /nowhere; known are: /count, "):
        await in_thread(get, served, "/nowhere", Greeting)


async def test_a_reply_of_another_version_is_an_error(served):
    class Other(msgspec.Struct):
        hello: int

    with pytest.raises(ControlError, match=r"malformed reply.*: Expected `int`"):
        await in_thread(get, served, "/hello", Other)


EXPECTED = [b"line 0", b"part", b"line 1", b"part"]


async def test_the_lines_of_a_stream(served):
    assert await in_thread(lambda: list(lines(served, "/count?to=2"))) == EXPECTED
    async with open_lines(served, "/count?to=2") as found:
        assert [line async for line in found] == EXPECTED
    async with open_lines(served, "/count?to=0") as found:
        assert [line async for line in found] == []


async def test_a_stream_may_be_left_early(served):
    async with open_lines(served, "/count?to=1000000") as found:
        assert await anext(found) == b"line 0"

    assert await in_thread(lambda: next(lines(served, "/count?to=1000000"))) == b"line 0"


async def test_a_stream_that_is_refused_is_an_error_at_once(served):
    with pytest.raises(RefusedError, match="not now"):
        async with open_lines(served, "/refuse"):
            raise AssertionError
    with pytest.raises(RefusedError, match="not now"):
        await in_thread(lambda: list(lines(served, "/refuse")))


async def test_a_stream_that_breaks_off_is_an_error_after_its_lines(served):
    async with open_lines(served, "/count?to=2&fail=1") as found:
        assert [await anext(found) for _ in EXPECTED] == EXPECTED
        with pytest.raises(ControlError, match="breaks off; see the daemon's log"):
            await anext(found)


# -- without our server --


def test_without_a_daemon_a_client_gets_an_error(path):
    with pytest.raises(NotRunningError, match="cuberouted is not running"):
        get(path, "/hello", Greeting)
    with pytest.raises(NotRunningError):
        list(lines(path, "/hello"))
    with pytest.raises(NotRunningError):
        get(type(path)("/dev/null/control.sock"), "/hello", Greeting)
    with pytest.raises(ControlError, match="path too long"):
        get(path.with_name("x" * 120), "/hello", Greeting)


async def test_without_a_daemon_a_stream_is_an_error(path):
    with pytest.raises(NotRunningError, match="cuberouted is not running"):
        async with open_lines(path, "/hello"):
            raise AssertionError


def test_a_daemon_that_does_not_answer_is_an_error(path, monkeypatch):
    monkeypatch.setattr(client, "STREAM_TIMEOUT", 0.01)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        with pytest.raises(ControlError, match="the daemon does not answer"):
            get(path, "/hello", Greeting, 0.01)
        with pytest.raises(ControlError, match="the daemon does not answer"):
            list(lines(path, "/hello"))


async def test_a_stream_of_a_daemon_that_does_not_answer_is_an_error(path, autojump_clock):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        with pytest.raises(ControlError, match="the daemon does not answer"):
            async with open_lines(path, "/hello"):
                raise AssertionError


@asynccontextmanager
async def replying(path, reply):
    """A server that sends *reply*, whatever it is asked."""

    async def handle(stream):
        await stream.receive_some(4096)
        await stream.send_all(reply)
        await stream.aclose()

    with trio.socket.socket(socket.AF_UNIX) as sock:
        await sock.bind(os.fspath(path))
        sock.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, handle, [trio.SocketListener(sock)])
            yield
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (b"", "malformed reply"),
        (b'{"error":"malformed request"}', "malformed reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "the reply breaks off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "breaks off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[[", "malformed reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "missing required field"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", "<html>"),
        (b"HTTP/1.1 502 Bad\r\n\r\n" + b"x" * 100_000, "^x{200}$"),
    ],
)
async def test_a_reply_that_is_not_ours_is_an_error(path, reply, match):
    async with replying(path, reply):
        with pytest.raises(ControlError, match=match):
            await in_thread(get, path, "/hello", Greeting)


async def test_a_line_without_end_is_an_error(path, monkeypatch):
    monkeypatch.setattr(client, "MAX_LINE", 1000)
    async with replying(path, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001):
        with pytest.raises(ControlError, match="no newline in 1001 bytes"):
            await in_thread(lambda: list(lines(path, "/hello")))
