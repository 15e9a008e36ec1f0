"""The HTTP server, on streams in memory and in no real time."""

from __future__ import annotations

import json

import h11
import msgspec
import pytest
import trio
import trio.testing

from cuberouted.api.http import LINES, Endpoint, HttpError
from cuberouted.api.http_server import (
    ANSWER_TIME,
    MAX_BODY,
    MAX_HEADER,
    MAX_REQUESTS,
    STREAM_TIMEOUT,
    HttpServer,
)
from cuberouted.api.limits import MAX_ANSWERS, MAX_CONNECTIONS, MAX_STREAMS, QUEUE_TIME
from cuberouted.api.protocol import TIMEOUT
from cuberouted.events import NodeProblem
from tests.fakes.api import ROOT, exchange


class Greeting(msgspec.Struct):
    hello: str


class FailingError(Exception):
    """A bug in a handler."""


async def parts(*items: bytes | Exception):
    for item in items:
        await trio.lowlevel.checkpoint()
        if isinstance(item, Exception):
            raise item
        yield item


def replies(result):
    """A handler that returns what *result* returns."""

    async def handler(request):
        await trio.lowlevel.checkpoint()
        return result(request)

    return handler


def echo(request):
    return Greeting(request.body.decode())


def fail(request):
    raise FailingError("a bug")


def refuse(request):
    raise HttpError(409, "not now")


async def forever(request):
    await trio.sleep_forever()


async def ticks():
    yield b""
    while True:
        await trio.sleep(1)
        yield b"tick\n"


ENDPOINTS = (
    Endpoint("GET", "/hello", replies(lambda _: Greeting("wörld"))),
    Endpoint("POST", "/echo", replies(echo), body=Greeting),
    Endpoint("GET", "/size", replies(lambda _: Greeting("x" * 3_000_000))),
    Endpoint("GET", "/parts", replies(lambda _: parts(b'{"hello":', b'"in parts"', b"}"))),
    Endpoint("GET", "/nothing", replies(lambda _: parts())),
    Endpoint("GET", "/fails", replies(fail)),
    Endpoint("GET", "/fails-early", replies(lambda _: parts(FailingError("a bug")))),
    Endpoint("GET", "/fails-late", replies(lambda _: parts(b'{"hello":', FailingError("a bug")))),
    Endpoint("GET", "/refuses", replies(refuse)),
    Endpoint("GET", "/forever", forever),
    Endpoint("GET", "/ticks", replies(lambda _: ticks()), content_type=LINES, stream=True),
    Endpoint("GET", "/once", replies(lambda _: parts(b"tick\n")), content_type=LINES, stream=True),
)


@pytest.fixture
def events():
    return []


@pytest.fixture
def server(events):
    return HttpServer(ENDPOINTS, events.append, "control socket")


def request(target="/hello", method="GET", *headers, body=b"", version="1.1"):
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def post(body, *headers):
    return request("/echo", "POST", f"Content-Length: {len(body)}", *headers, body=body)


def replies_in(received, *methods):
    """Status and body of each reply; None: a reply without its end."""
    found: list[tuple[int, bytes] | None] = []
    rest = received
    for number in range(1000):
        method = methods[number] if number < len(methods) else "GET"
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(rest)
        connection.receive_data(b"")
        body, response = b"", None
        try:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Response):
                    response = event
                elif isinstance(event, h11.Data):
                    body += event.data
        except h11.RemoteProtocolError:
            found.append(None)
            return found
        assert response is not None
        found.append((response.status_code, body))
        rest = connection.trailing_data[0]
        if not rest:
            return found
    raise AssertionError("endless")


async def ask(server, *pieces, methods=()):
    return replies_in(await exchange(server, pieces), *methods)


def error_in(reply):
    return reply[0], json.loads(reply[1])["error"]


HELLO = (200, '{"hello":"wörld"}'.encode())

# -- replies --


async def test_a_request_gets_its_reply(server):
    assert await ask(server, request()) == [HELLO]
    assert await ask(server, request("/parts")) == [(200, b'{"hello":"in parts"}')]
    assert await ask(server, request("/nothing")) == [(200, b"")]
    assert await ask(server, request("/once")) == [(200, b"tick\n")]
    assert len((await ask(server, request("/size")))[0][1]) > 3_000_000
    assert await ask(server, post(b"abc")) == [(200, b'{"hello":"abc"}')]


async def test_the_head_of_a_reply(server):
    received = await exchange(server, [request()])
    head = received.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"HTTP/1.1 200 OK"
    assert {b"Content-Type: application/json", b"Cache-Control: no-store"} < set(head)
    assert b"Content-Length: 18" in head
    assert any(line.startswith(b"Date: ") and line.endswith(b" GMT") for line in head)
    stream = await exchange(server, [request("/once")])
    assert b"\r\nContent-Type: application/x-ndjson\r\n" in stream
    assert b"\r\nTransfer-Encoding: chunked\r\n" in stream


async def test_head_gets_the_head_of_get(server):
    for target in ("/hello", "/parts", "/once", "/ticks"):
        received = await exchange(server, [request(target, "HEAD")])
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received.endswith(b"\r\n\r\n")
        assert received.count(b"\r\n\r\n") == 1
    assert b"Content-Length: 18\r\n" in await exchange(server, [request("/hello", "HEAD")])
    missing = await exchange(server, [request("/nowhere", "HEAD")])
    assert missing.startswith(b"HTTP/1.1 404 ")
    assert missing.endswith(b"\r\n\r\n")


async def test_requests_share_a_connection_also_pipelined_and_in_pieces(server):
    several = request() + post(b"a" * 1000) + request("/parts") + request("/once") + request()
    expected = [HELLO, (200, b'{"hello":"' + b"a" * 1000 + b'"}')]
    expected += [(200, b'{"hello":"in parts"}'), (200, b"tick\n"), HELLO]
    assert await ask(server, several) == expected
    assert await ask(server, *(bytes([byte]) for byte in several)) == expected


async def test_errors_of_requests_that_are_understood_keep_the_connection(server):
    several = request("/nowhere") + request("/hello", "PUT") + request("/refuses") + request()
    *errors, last = await ask(server, several)
    assert [error[0] for error in errors] == [404, 405, 409]
    assert error_in(errors[2]) == (409, "not now")
    assert last == HELLO
    put = request("/hello", "PUT", "Content-Length: 3", body=b"abc")
    received = await exchange(server, [put + request()])
    assert b"\r\nAllow: GET, HEAD\r\n" in received
    assert [reply[0] for reply in replies_in(received)] == [405, 200]


async def test_a_client_can_close_and_old_clients_are_closed(server):
    assert await ask(server, request("/hello", "GET", "Connection: close") + request()) == [HELLO]
    assert await ask(server, request(version="1.0") + request()) == [HELLO]
    assert await ask(server, request("/parts", version="1.0")) == [(200, b'{"hello":"in parts"}')]


async def test_a_connection_ends_after_so_many_requests(server):
    replies = await ask(server, request() * (MAX_REQUESTS + 5))
    assert replies == [HELLO] * MAX_REQUESTS
    assert (await exchange(server, [request()] * 200)).count(b"Connection: close") == 1


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(server):
    expecting = post(b"abc", "Expect: 100-continue")
    received = await exchange(server, [expecting[:-3], expecting[-3:]])
    assert received.startswith(b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\n")


# -- requests that are refused --


SMUGGLED = b"GET /size HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\0", 400),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\xff" * 100, 400),
        (b'{"ask": "status"}\n\n', 400),
        (b"\xff\xfe\r\n\r\n", 400),
        (request("/hello", version="2.0"), 505),
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),  # without Host
        (request("/hello", "GET", "Host: again"), 400),
        (request("/hello", "GET", "a b: x"), 400),
        (request("/hello", "GET", "a : x"), 400),
        (request("/hello", "GET", "a: \0"), 400),
        (request("/a b"), 400),
        # two lengths
        (post(SMUGGLED, "Content-Length: 0"), 400),
        (request("/echo", "POST", "Content-Length: 1, 2", body=SMUGGLED), 400),
        (request("/echo", "POST", "Content-Length: +1", body=SMUGGLED), 400),
        (request("/echo", "POST", "Content-Length: -1", body=SMUGGLED), 400),
        (request("/echo", "POST", "Content-Length: 1_0", body=SMUGGLED), 400),
        (request("/echo", "POST", "Content-Length: " + "9" * 30, body=SMUGGLED), 400),
        (post(b"0\r\n\r\n" + SMUGGLED, "Transfer-Encoding: chunked"), 400),
        (request("/hello", "GET", "Transfer-Encoding: chunked", "Content-Length: 0"), 400),
        # codings
        (request("/echo", "POST", "Transfer-Encoding: gzip, chunked", body=SMUGGLED), 501),
        (request("/echo", "POST", "Transfer-Encoding: xchunked", body=SMUGGLED), 501),
        (request("/echo", "POST", *["Transfer-Encoding: chunked"] * 2, body=SMUGGLED), 501),
        (request("/echo", "POST", "Transfer-Encoding: chunked", body=b"0x3\r\nabc\r\n"), 400),
        (
            request("/echo", "POST", "Transfer-Encoding: chunked", body=b"3\r\nabcXX" + SMUGGLED),
            400,
        ),
        (request("/echo", "POST", "Transfer-Encoding: chunked", body=b"-1\r\n" + SMUGGLED), 400),
        # lengths
        (request("/" + "x" * 2 * MAX_HEADER), 431),
        (request("/hello", "GET", "X: " + "x" * 2 * MAX_HEADER), 431),
        (request("/hello", "GET", *["X: " + "x" * 100] * 400), 431),
        (b"GET /" + b"x" * 2 * MAX_HEADER, 431),
        (post(b"x" * (MAX_BODY + 1)), 413),
        (
            request(
                "/echo",
                "POST",
                "Transfer-Encoding: chunked",
                body=b"%x\r\n" % (MAX_BODY + 1) + b"x" * (MAX_BODY + 1) + b"\r\n0\r\n\r\n",
            ),
            413,
        ),
    ],
)
async def test_what_is_not_understood_is_refused_and_ends_the_connection(
    server, events, data, status
):
    for pieces in ([data + SMUGGLED], [data[: len(data) // 2], data[len(data) // 2 :], SMUGGLED]):
        received = await exchange(server, pieces)
        ((found, body),) = replies_in(received)
        assert found == status
        assert json.loads(body)["error"]
        assert b"\r\nConnection: close\r\n" in received
    assert not events


async def test_a_body_where_none_is_expected_is_refused_and_not_taken_for_a_request(server):
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    for several in (
        request("/hello", "GET", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED) + request(),
        request("/hello", "GET", "Transfer-Encoding: chunked", body=body) + request(),
    ):
        refused, last = await ask(server, several)
        assert error_in(refused) == (400, "a body is not expected here")
        assert last == HELLO


async def test_the_longest_body_is_received(server):
    body = b"x" * MAX_BODY
    assert await ask(server, post(body)) == [(200, b'{"hello":"' + body + b'"}')]


@pytest.mark.parametrize("data", [b"", request()[:-2], post(b"abc")[:-1]])
async def test_a_client_that_leaves_before_its_request_is_complete_is_forgotten(server, data):
    received = await exchange(server, [data])
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")


# -- handlers with a bug --


async def test_an_exception_in_a_handler_is_status_500_an_event_and_a_traceback(
    server, events, caplog
):
    *failed, last = await ask(server, request("/fails") * 3 + request())
    assert [error_in(one) for one in failed] == [(500, "internal error; see the daemon's log")] * 3
    assert last == HELLO
    (record,) = caplog.records  # the others are suppressed
    assert record.message == "control socket: GET /fails failed"
    assert record.exc_info[0] is FailingError
    assert events == [
        NodeProblem(what="control socket", why="GET /fails failed: FailingError: a bug")
    ]


async def test_a_handler_that_fails_before_its_first_part_is_status_500(server, events):
    assert [reply[0] for reply in await ask(server, request("/fails-early"))] == [500]
    assert len(events) == 1


async def test_a_handler_that_fails_amid_its_reply_ends_the_connection(server, events):
    assert await ask(server, request("/fails-late") + request()) == [None]
    assert len(events) == 1


async def test_a_handler_that_waits_too_long_is_status_503(server, autojump_clock):
    began = trio.current_time()
    (reply,) = await ask(server, request("/forever"))
    assert error_in(reply) == (503, "no reply within 60 s")
    assert trio.current_time() - began == pytest.approx(ANSWER_TIME)


# -- connections --


class Listener(trio.abc.Listener[trio.testing.MemorySendStream]):
    """Accepts the connections that a test makes."""

    def __init__(self):
        self._send, self._receive = trio.open_memory_channel(10_000)
        self.accepted = 0

    def connect(self):
        ours, theirs = trio.testing.lockstep_stream_pair()
        self._send.send_nowait(theirs)
        return ours

    async def accept(self):
        stream = await self._receive.receive()
        self.accepted += 1
        return stream

    async def aclose(self):
        self._receive.close()


@pytest.fixture
async def listener(server, nursery):
    async def client_of(stream):
        return ROOT

    listener = Listener()
    nursery.start_soon(server.serve, listener, client_of)
    return listener


async def send(stream, data=None):
    """Sends a request; the reply comes whenever it is received."""
    await stream.send_all(data or request("/hello", "GET", "Connection: close"))


async def receive_all(stream):
    received = b""
    while data := await stream.receive_some():
        received += data
    return received


async def receive_until(stream, end):
    received = b""
    while not received.endswith(end):
        data = await stream.receive_some()
        assert data
        received += data
    return received


async def test_an_idle_connection_is_closed_without_a_reply(listener, autojump_clock):
    stream = listener.connect()
    began = trio.current_time()
    assert await receive_all(stream) == b""
    assert trio.current_time() - began == pytest.approx(TIMEOUT)


async def test_a_slow_request_is_refused_after_a_time_however_it_trickles(listener, autojump_clock):
    stream, began = listener.connect(), trio.current_time()
    ended = trio.Event()

    async def trickle():
        for byte in request() * 10:
            if ended.is_set():
                return
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        ((status, _),) = replies_in(await receive_until(stream, b"}"))
        ended.set()
    assert status == 408
    assert trio.current_time() - began == pytest.approx(TIMEOUT, abs=0.6)


async def test_a_client_that_does_not_read_is_closed(server, listener, autojump_clock):
    stream = listener.connect()
    await send(stream, request("/size"))
    began = trio.current_time()
    await trio.testing.wait_all_tasks_blocked()
    await server.wait_idle()
    assert trio.current_time() - began == pytest.approx(TIMEOUT)


async def test_idle_connections_do_not_keep_others_out(listener, autojump_clock):
    idle = [listener.connect() for _ in range(1000)]
    late = listener.connect()
    began = trio.current_time()
    await send(late)
    assert (await receive_all(late)).startswith(b"HTTP/1.1 200 ")
    assert trio.current_time() - began < TIMEOUT
    assert await receive_all(idle[0]) == b""  # the one that was idle longest
    assert trio.current_time() - began < TIMEOUT


async def test_while_all_connections_are_busy_no_more_are_accepted(listener, mock_clock):
    busy = [listener.connect() for _ in range(MAX_CONNECTIONS)]
    for stream in busy:
        await send(stream, request("/forever"))
    await trio.testing.wait_all_tasks_blocked()
    replies = []

    async def ask_too():
        stream = listener.connect()
        await send(stream)
        replies.append(await receive_all(stream))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask_too)
        await trio.testing.wait_all_tasks_blocked()
        assert listener.accepted == MAX_CONNECTIONS
        mock_clock.autojump_threshold = 0
    assert [reply[:9] for reply in replies] == [b"HTTP/1.1 "] * 10


async def test_requests_beyond_the_limit_wait_for_their_turn(listener, autojump_clock):
    busy = [listener.connect() for _ in range(MAX_ANSWERS)]
    for stream in busy:
        await send(stream, request("/forever"))
    await trio.testing.wait_all_tasks_blocked()
    began, one = trio.current_time(), listener.connect()
    await send(one)
    assert (await receive_all(one)).startswith(b"HTTP/1.1 503 ")
    assert trio.current_time() - began == pytest.approx(QUEUE_TIME)
    await trio.sleep(ANSWER_TIME - 2 * QUEUE_TIME + 1)
    two = listener.connect()
    await send(two)
    assert (await receive_all(two)).startswith(b"HTTP/1.1 200 ")
    assert trio.current_time() - began == pytest.approx(ANSWER_TIME)


# -- streams --


async def test_a_stream_goes_on_until_its_client_leaves(server, listener, autojump_clock):
    stream = listener.connect()
    await send(stream, request("/ticks"))
    began = trio.current_time()
    head = await receive_until(stream, b"\r\n\r\n")
    assert trio.current_time() == began  # before the first line
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    for _ in range(100):
        assert await receive_until(stream, b"tick\n\r\n") == (b"5\r\ntick\n\r\n")
    assert trio.current_time() - began == pytest.approx(100)
    assert trio.current_time() - began > ANSWER_TIME
    await stream.send_eof()
    with trio.fail_after(0.5):  # before the next line
        await server.wait_idle()


async def test_streams_do_not_keep_requests_waiting(listener, autojump_clock):
    streams = [listener.connect() for _ in range(MAX_STREAMS + 1)]
    for stream in streams:
        await send(stream, request("/ticks"))
        await trio.testing.wait_all_tasks_blocked()
    refused = await receive_until(streams[-1], b"}")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"64 streams are open, which is the limit" in refused
    late, began = listener.connect(), trio.current_time()
    await send(late)
    assert (await receive_all(late)).startswith(b"HTTP/1.1 200 ")
    assert trio.current_time() == began


async def test_a_stream_that_nobody_reads_is_ended(server, listener, autojump_clock):
    stream = listener.connect()
    await send(stream, request("/ticks"))
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()
    await server.wait_idle()
    assert trio.current_time() - began == pytest.approx(STREAM_TIMEOUT)


async def test_a_client_may_send_while_it_reads_a_stream(listener, autojump_clock):
    stream = listener.connect()
    await send(stream, request("/ticks"))
    await receive_until(stream, b"tick\n\r\n")
    await stream.send_all(request() * 100)
    await receive_until(stream, b"tick\n\r\n")
