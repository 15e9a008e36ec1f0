"""Serves HTTP/1.1 (RFC 9112) on the streams of any listener, within limits.

h11 parses and frames; it rejects what is ambiguous (conflicting Content-Length headers, unknown
transfer codings, malformed chunks). A request that is not understood ends its connection.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol, TypeVar

import h11
import msgspec
import trio

from cuberouted.api.http import (
    JSON,
    Client,
    Endpoint,
    Endpoints,
    Headers,
    HttpError,
    Reply,
    Request,
)
from cuberouted.api.http_head import check_head
from cuberouted.api.limits import LimitedListener, Limits, TooManyConnectionsError
from cuberouted.api.protocol import TIMEOUT, ErrorReply
from cuberouted.events import Emit, NodeProblem
from cuberouted.model import printable_name
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

log = logging.getLogger(__name__)

MAX_HEADER = 16 * 1024
"""Bytes of a request line and its header fields, and up to `RECEIVE` more."""

RECEIVE = 4096
"""Bytes that are received at once."""

MAX_BODY = 64 * 1024
"""Bytes of a request's body."""

MAX_REQUESTS = 100
"""Requests on one connection."""

ANSWER_TIME = 60.0
"""Seconds for the whole answer to a request, if it is not a stream."""

STREAM_TIMEOUT = 30.0
"""Seconds without progress after which a stream is ended."""

PIECE = 64 * 1024
"""Bytes that are sent within one timeout."""

MAX_DISCARDED = 1024 * 1024
"""Bytes of a refused request that are received before its connection is closed."""

_VERSIONS = frozenset({b"1.0", b"1.1"})

S = TypeVar("S", bound=trio.abc.Stream)


class _EndOfConnectionError(Exception):
    """The connection has to be closed: the client has left, does not read, or has half a reply."""


class RequestFilter(Protocol):
    """Which requests a listener accepts at all, and the header fields of all of its replies."""

    @property
    def headers(self) -> Headers:
        """Header fields that every reply has."""

    def check(self, head: h11.Request, client: Client) -> None:
        """Raise HttpError if a request is not accepted. Its connection is then closed."""


class AcceptAll:
    """Accepts every request."""

    headers: Headers = ()

    def check(self, head: h11.Request, client: Client) -> None:
        """See `RequestFilter`."""


class HttpServer:
    """Answers the requests of all connections that it is given.

    *what* names the listener in the log and in events. *emit* publishes a `NodeProblem` for an
    exception in a handler, and when no connections can be accepted. *request_filter*: which
    requests are accepted.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        emit: Emit,
        what: str,
        request_filter: RequestFilter | None = None,
    ) -> None:
        self.endpoints = Endpoints(endpoints)
        self.filter = request_filter or AcceptAll()
        self._emit = emit
        self._what = what
        self._log_limit = LogRateLimit()
        self.limits = Limits()

    async def serve(
        self, listener: trio.abc.Listener[S], client_of: Callable[[S], Awaitable[Client]]
    ) -> None:
        """Serve until cancelled. *client_of* returns whose connection a stream is."""

        async def handle(stream: S) -> None:
            try:
                async with stream:
                    await self.handle(stream, await client_of(stream))
            except (trio.BrokenResourceError, OSError) as error:
                log.debug("%s: a client left at once: %s", self._what, error)
            except Exception as error:  # noqa: BLE001 - a bug ends one connection only
                self.failed("a connection", error)
            finally:
                self.limits.closed()

        limited = LimitedListener(listener, self.limits, self._report_accept)
        await trio.serve_listeners(handle, [limited])

    async def handle(self, stream: trio.abc.Stream, client: Client) -> None:
        """Answer the requests on *stream* until either side ends the connection."""
        try:
            with self.limits.connection(client):
                await _Connection(self, stream, client).run()
        except TooManyConnectionsError:
            log.debug("%s: too many connections from %s", self._what, client.origin)

    async def wait_idle(self) -> None:
        """Wait until no request is being answered."""
        await self.limits.wait_idle()

    def _report_accept(self, error: OSError) -> None:
        suppressed = self._log_limit.allow("accept", trio.current_time())
        if suppressed is not None:
            note = suppressed_note(suppressed)
            why = f"cannot accept connections: {error.strerror}{note}"
            self._emit(NodeProblem(what=self._what, why=why))

    def failed(self, request: str, error: Exception) -> None:
        """Report a bug: *request* raised *error*."""
        suppressed = self._log_limit.allow(request, trio.current_time())
        if suppressed is not None:
            note = suppressed_note(suppressed)
            log.error("%s: %s failed%s", self._what, request, note, exc_info=error)
            why = f"{request} failed: {type(error).__name__}: {error}"
            self._emit(NodeProblem(what=self._what, why=why[:500]))


class _Connection:
    """One client's connection, from its first byte to its end."""

    def __init__(self, server: HttpServer, stream: trio.abc.Stream, client: Client) -> None:
        self._server = server
        self._stream = stream
        self._client = client
        self._http = h11.Connection(h11.SERVER, MAX_HEADER)
        self._method = b""
        self._timeout = TIMEOUT
        self._last = False

    async def run(self) -> None:
        """Answer requests until either side ends the connection."""
        try:
            for number in range(1, MAX_REQUESTS + 1):
                self._last = number == MAX_REQUESTS
                await self._answer_next()
                if {self._http.our_state, self._http.their_state} != {h11.DONE}:
                    break
                self._http.start_next_cycle()
            if self._http.our_state in (h11.DONE, h11.MUST_CLOSE):
                await self._discard_the_rest()
        except _EndOfConnectionError:
            log.debug("%s: a client left before the end of its reply", self._client.user)

    async def _answer_next(self) -> None:
        """Answer the next request, if one comes."""
        self._method = b""
        try:
            received = await self._receive_request()
            if received is None:
                return
            endpoint, request = self._server.endpoints.find(*received, self._client)
        except h11.RemoteProtocolError as error:
            text = f"malformed request: {str(error)[:200]}"
            await self._send_error(HttpError(error.error_status_hint, text))
        except HttpError as error:
            await self._send_error(error)
        else:
            if endpoint.stream:
                await self._answer_stream(endpoint, request)
            else:
                await self._answer(endpoint, request)

    # -- receiving --

    async def _receive_request(self) -> tuple[str, str, bytes] | None:
        """Method, target and body; None at the end of the connection."""
        head = None
        async with self._server.limits.idle(self._client):
            with trio.move_on_after(TIMEOUT) as scope:
                head = await self._receive_head()
                if head is None:
                    return None
                body = await self._receive_body()
                return head.method.decode(), head.target.decode(), body
            if scope.cancelled_caught and (head or self._http.trailing_data[0]):
                raise HttpError(408, f"the request was not complete after {TIMEOUT:g} s")
        return None

    async def _receive_head(self) -> h11.Request | None:
        event = await self._receive()
        if not isinstance(event, h11.Request):
            return None
        self._method = event.method
        if event.http_version not in _VERSIONS:
            self._last = True
            raise HttpError(505, "the version of HTTP is none of 1.0 and 1.1")
        names = {name for name, _ in event.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            # h11 would follow Transfer-Encoding; a proxy in front of us may follow the other
            self._last = True
            raise HttpError(400, "Content-Length and Transfer-Encoding exclude each other")
        try:
            self._server.filter.check(event, self._client)
        except HttpError:
            self._last = True
            raise
        return event

    async def _receive_body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._receive(), h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise HttpError(413, f"the body is longer than {MAX_BODY} bytes")
        return bytes(body)

    async def _receive(self) -> object:
        """The next event of h11."""
        while (event := self._next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                self._http.receive_data(bytes(await self._stream.receive_some(RECEIVE)))
            except trio.BrokenResourceError:
                raise _EndOfConnectionError from None
        return event

    def _next_event(self) -> object:
        if self._http.their_state is h11.IDLE:
            check_head(self._http.trailing_data[0])
        return self._http.next_event()

    async def _discard_the_rest(self) -> None:
        """End our side, and receive until the client has ended its own, within limits.

        Closing with something unread would reset a TCP connection, and lose the reply.
        """
        with suppress(trio.BrokenResourceError):
            async with self._server.limits.idle(self._client):
                with trio.move_on_after(TIMEOUT):
                    if isinstance(self._stream, trio.abc.HalfCloseableStream):
                        await self._stream.send_eof()
                    for _ in range(MAX_DISCARDED // PIECE):
                        if not await self._stream.receive_some(PIECE):
                            break

    # -- answering --

    async def _answer_stream(self, endpoint: Endpoint, request: Request) -> None:
        """As `_answer`, but end when the client closes its side of the connection."""

        async def watch(scope: trio.CancelScope) -> None:
            try:
                data = bytes(await self._stream.receive_some(RECEIVE))
            except trio.BrokenResourceError:
                data = b""
            self._http.receive_data(data)
            if not data:
                scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            self._timeout = STREAM_TIMEOUT
            # here, because the nursery would wrap it in an exception group
            with suppress(_EndOfConnectionError):
                await self._answer(endpoint, request)
            self._timeout = TIMEOUT
            nursery.cancel_scope.cancel()

    async def _answer(self, endpoint: Endpoint, request: Request) -> None:
        with trio.move_on_after(math.inf if endpoint.stream else ANSWER_TIME) as scope:
            try:
                limits = self._server.limits
                limit = limits.streaming if endpoint.stream else limits.answering
                async with limit(self._client):
                    await self._send_answer(endpoint, request)
            except HttpError as error:
                await self._send_error(error)
            except _EndOfConnectionError:
                raise
            except Exception as error:  # noqa: BLE001 - a bug in a handler ends nothing else
                self._server.failed(f"{request.method} {endpoint.path}", error)
                await self._send_error(HttpError(500, "internal error; see the daemon's log"))
        if scope.cancelled_caught:
            await self._send_error(HttpError(503, f"no reply within {ANSWER_TIME:g} s"))

    async def _send_answer(self, endpoint: Endpoint, request: Request) -> None:
        reply = await endpoint.handler(request)
        if isinstance(reply, msgspec.Struct):
            reply = Reply(msgspec.json.encode(reply), endpoint.content_type)
        if isinstance(reply, Reply):
            await self._send_whole(reply)
            return
        head = self._head(200, endpoint.content_type, endpoint.headers)
        async with aclosing(reply):
            if self._method != b"HEAD":
                # the head waits for the first part: an error before it has a status of its own
                async for part in reply:
                    if self._http.our_state is h11.SEND_RESPONSE:
                        await self._send(head)
                    await self._send(h11.Data(data=part))
        if self._http.our_state is h11.SEND_RESPONSE:
            await self._send(head)
        await self._send(h11.EndOfMessage())

    async def _send_error(self, error: HttpError) -> None:
        """Reply with *error*, or close the connection if a part of a reply has been sent."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise _EndOfConnectionError
        allow = (("Allow", error.allowed),) if error.allowed else ()
        # what it repeats of the request may not change the terminal of whoever reads it
        text = printable_name(error.text.encode())
        body = msgspec.json.encode(ErrorReply(text))
        await self._send_whole(Reply(body, JSON, error.status, allow))

    async def _send_whole(self, reply: Reply) -> None:
        length = ("Content-Length", str(len(reply.body)))
        head = self._head(reply.status, reply.content_type, (length, *reply.headers))
        data = h11.Data(data=b"" if self._method == b"HEAD" else reply.body)
        await self._send(head, data, h11.EndOfMessage())

    def _head(self, status: int, content_type: str, headers: Headers) -> h11.Response:
        all_headers = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
            *self._server.filter.headers,
            *headers,
        ]
        if self._last or self._http.their_state is not h11.DONE:
            all_headers.append(("Connection", "close"))
        reason = HTTPStatus(status).phrase
        return h11.Response(status_code=status, headers=all_headers, reason=reason)

    async def _send(self, *events: h11.Event) -> None:
        """Send *events* by pieces, each within a timeout."""
        data = memoryview(b"".join(self._http.send(event) or b"" for event in events))
        for start in range(0, len(data), PIECE):
            try:
                with trio.fail_after(self._timeout):
                    await self._stream.send_all(data[start : start + PIECE])
            except (trio.BrokenResourceError, trio.TooSlowError):
                raise _EndOfConnectionError from None
