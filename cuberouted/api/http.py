"""HTTP requests as values, and the endpoints that they select.

Pure: `http_server` has the connections. Nothing here depends on how a client is connected.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import attrs
import msgspec

from cuberouted.util.decoding import DECODE_ERRORS

T = TypeVar("T")

JSON = "application/json"
LINES = "application/x-ndjson"
"""The content type of a stream: one JSON object a line."""

MAX_PARAMETERS = 16
"""Parameters in a query; ours have below ten."""

_ABSOLUTE = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)


class HttpError(Exception):
    """A request that is not fulfilled: the reply's status, and its JSON ``{"error": text}``.

    ``allowed``: the methods of the path, with 405.
    """

    def __init__(self, status: int, text: str, *, allowed: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.allowed = allowed


@attrs.frozen
class Client:
    """Who has sent a request, and what the client may do.

    ``user``: as in "root" or "uid 1000 (anna)". ``denied``: who may do what this client may not,
    for the text of the error. ``local_address``: the address of this host to which the client is
    connected, empty on a Unix socket. ``origin``: the host or network that it is in, which may use
    half of what a listener has; empty on a Unix socket, where there are no such shares.
    """

    user: str
    reads: bool
    changes: bool
    denied: str = "this listener only reads"
    local_address: str = ""
    origin: str = ""


@attrs.frozen
class Request:
    """One request for an endpoint.

    ``argument``: what stands for the ``{...}`` in its path, unquoted, else empty. ``query``: the
    parameters, all of which the endpoint knows. ``user``: see `Client`.
    """

    method: str
    argument: str = ""
    query: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    user: str = ""

    def parameters(self, kind: type[T]) -> T:
        """The query as a *kind*, which the endpoint has as its ``parameters``.

        Raises:
          HttpError: a value is invalid.
        """
        try:
            return msgspec.convert(self.query, kind, strict=False)
        except msgspec.ValidationError as error:
            raise HttpError(400, f"invalid query: {error}") from None

    def json(self, kind: type[T]) -> T:
        """The body as a *kind*, which the endpoint has as its ``body``.

        Raises:
          HttpError: it is no JSON, or another value.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except DECODE_ERRORS as error:
            raise HttpError(400, f"invalid body: {error}") from None


Parts = AsyncGenerator[bytes]
"""Pieces of a body, sent one by one in chunks. The head of the reply is sent with the first one,
which may be empty. Between two pieces other tasks run."""

Headers = tuple[tuple[str, str], ...]
"""Header fields, by name and value."""


@attrs.frozen
class Reply:
    """A whole reply that is not just a value in JSON."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: Headers = ()


Handler = Callable[[Request], Awaitable[msgspec.Struct | Reply | Parts]]
"""Returns what is sent. Raises `HttpError`; any other exception is a bug: status 500 and a log
line."""


class NoParameters(msgspec.Struct):
    """No parameters in the query."""


@attrs.frozen
class Endpoint:
    """What a method and a path do. The test of docs/openapi.json requires all that describes it.

    ``path``: as "/v1/why/{target}", with one ``{...}`` at most, which is one segment. GET includes
    HEAD. ``changes``: changes something, so that the client needs the right to. ``stream``: goes
    on for as long as the client likes, and counts as a stream. ``local_only``: has the peers do
    something, so that it is not served to other hosts.

    ``reply``: the type of the reply, or of each line of a stream. ``summary``: a line on what it
    does. ``argument``: what stands for the ``{...}``. ``parameters``: a struct with a field for
    each parameter of the query, all with defaults; others are refused. ``body``: the type of the
    request's body; without it, none is accepted. ``errors``: further statuses that the handler
    replies with, and when. ``headers``: header fields of a reply in parts.
    """

    method: str
    path: str
    handler: Handler
    changes: bool = False
    content_type: str = JSON
    stream: bool = attrs.field(default=False, kw_only=True)
    local_only: bool = attrs.field(default=False, kw_only=True)
    headers: Headers = attrs.field(default=(), kw_only=True)
    reply: Any = attrs.field(default=None, kw_only=True)
    summary: str = attrs.field(default="", kw_only=True)
    argument: str = attrs.field(default="", kw_only=True)
    parameters: type[msgspec.Struct] = attrs.field(default=NoParameters, kw_only=True)
    body: type[msgspec.Struct] | None = attrs.field(default=None, kw_only=True)
    errors: Mapping[int, str] = attrs.field(factory=dict, kw_only=True)

    def match(self, segments: list[str]) -> str | None:
        """What stands for the ``{...}`` if *segments*, split at "/", are of this path."""
        expected = self.path.split("/")
        if len(expected) != len(segments):
            return None
        argument = ""
        for name, segment in zip(expected, segments, strict=True):
            if name.startswith("{"):
                argument = unquote(segment)
                if not argument:
                    return None
            elif name != segment:
                return None
        return argument


class Endpoints:
    """Finds the endpoint of a request."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints = tuple(endpoints)

    def find(
        self, method: str, target: str, body: bytes, client: Client
    ) -> tuple[Endpoint, Request]:
        """The endpoint for *method* and *target*, a request target (RFC 9112 section 3.2).

        Raises:
          HttpError: there is none (404, 405), *client* may not use it (403), or the query or
            the body is wrong (400).
        """
        if not client.reads:
            raise HttpError(403, f"permission denied; {client.denied}")
        path, _, query = split_target(target)[1].partition("?")
        found = self._of_path(path)
        if not found:
            known = ", ".join(sorted({endpoint.path for endpoint in self._endpoints}))
            raise HttpError(404, f"unknown path {path[:100]}; known are: {known}")
        if method not in found:
            allowed = ", ".join(found)
            text = f"{method[:20]} is not possible for {path[:100]}; possible are: {allowed}"
            raise HttpError(405, text, allowed=allowed)
        endpoint, argument = found[method]
        if endpoint.changes and not client.changes:
            raise HttpError(403, f"permission denied; {client.denied}")
        if body and endpoint.body is None:
            raise HttpError(400, "a body is not expected here")
        request = Request(method, argument, _parse_query(query, endpoint), body, client.user)
        request.parameters(endpoint.parameters)
        return endpoint, request

    def _of_path(self, path: str) -> dict[str, tuple[Endpoint, str]]:
        """By method: the endpoint and its argument."""
        found: dict[str, tuple[Endpoint, str]] = {}
        segments = path.split("/")
        for endpoint in self._endpoints:
            argument = endpoint.match(segments)
            if argument is not None:
                found.setdefault(endpoint.method, (endpoint, argument))
                if endpoint.method == "GET":
                    found.setdefault("HEAD", (endpoint, argument))
        return found


def split_target(target: str) -> tuple[str | None, str]:
    """The authority of *target* and its origin form (RFC 9112 section 3.2).

    A server has to accept the absolute form, as in ``http://host:80/path``; other targets have no
    authority, and are returned as they are.
    """
    found = _ABSOLUTE.match(target)
    if found is None:
        return None, target
    rest = target[found.end() :]
    return found[1], rest if rest.startswith("/") else "/" + rest


def _parse_query(query: str, endpoint: Endpoint) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise HttpError(400, f"more than {MAX_PARAMETERS} parameters") from None
    known = endpoint.parameters.__struct_fields__
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            which = f"known are: {', '.join(known)}" if known else "there are none"
            raise HttpError(400, f"unknown parameter {name[:100]}; {which}")
        if name in found:
            raise HttpError(400, f"parameter {name} is given twice")
        found[name] = value
    return found
