"""The commands' side of the control socket: a client for HTTP on a Unix socket."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, TypeVar

import h11
import msgspec
import trio

from cuberouted.api.protocol import (
    TIMEOUT,
    ControlError,
    ErrorReply,
    NotRunningError,
    RefusedError,
)
from cuberouted.util.decoding import DECODE_ERRORS

T = TypeVar("T")

RECEIVE = 64 * 1024
"""Bytes that are received at once."""

MAX_LINE = 1024 * 1024
"""Bytes of a line of a stream."""

STREAM_TIMEOUT = 40.0
"""Seconds without anything on a stream, which has a heartbeat every 15 s."""


class Credentials(NamedTuple):
    """A process, and the user and group that it ran as when it began to listen: unix(7)."""

    pid: int
    uid: int
    gid: int


def get(path: Path, target: str, kind: type[T], timeout: float = TIMEOUT) -> T:
    """The daemon's reply to GET *target*, as a *kind*.

    *path*: the control socket. *target*: as "/v1/why/10.9.0.1"; whoever builds it quotes it
    (`urllib.parse.quote`). *timeout*: seconds without progress.

    Raises:
      NotRunningError: no daemon is running.
      RefusedError: the daemon's reply is an error.
      ControlError: no permission, no reply, or a reply of another version.
    """
    return _query(path, "GET", target, None, kind, timeout)


def post(
    path: Path, target: str, body: msgspec.Struct | None, kind: type[T], timeout: float = TIMEOUT
) -> T:
    """The daemon's reply to POST *target* with *body*. See `get`."""
    return _query(path, "POST", target, body, kind, timeout)


def lines(path: Path, target: str) -> Generator[bytes]:
    """The lines of a stream, without their newline, as they come. It ends as the stream does.

    Raises:
      ControlError: as `get`; also while iterating, if the stream breaks off.
    """
    reader = _Reader(path, "GET", target, None)
    splitter = _LineSplitter(path)
    with _errors(path), closing(_connect(path)) as sock:
        sock.settimeout(STREAM_TIMEOUT)
        sock.sendall(reader.request)
        while not reader.ended:
            yield from splitter.feed(reader.receive(sock.recv(RECEIVE)))


@asynccontextmanager
async def open_lines(path: Path, target: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """As `lines`, for trio. Entering it raises what `lines` raises at its first line."""
    reader = _Reader(path, "GET", target, None)
    splitter = _LineSplitter(path)

    async def more(stream: trio.SocketStream) -> list[bytes]:
        with _errors(path), trio.fail_after(STREAM_TIMEOUT):
            return splitter.feed(reader.receive(bytes(await stream.receive_some(RECEIVE))))

    async def iterate(stream: trio.SocketStream, first: list[bytes]) -> AsyncGenerator[bytes]:
        for line in first:
            yield line
        while not reader.ended:
            for line in await more(stream):
                yield line

    with _errors(path):
        stream = await trio.open_unix_socket(path)
    async with stream:
        with _errors(path), trio.fail_after(TIMEOUT):
            await stream.send_all(reader.request)
        first: list[bytes] = []
        while not (reader.begun or reader.ended):
            first += await more(stream)
        async with aclosing(iterate(stream, first)) as found:
            yield found


def is_served(path: Path) -> bool:
    """Whether a daemon listens on *path*.

    Raises:
      ControlError: we may not connect.
    """
    try:
        _connect(path).close()
    except BlockingIOError:
        return True  # its backlog is full
    except OSError as error:
        why = _as_control_error(path, error)
        if isinstance(why, NotRunningError):
            return False
        raise why from error
    return True


def server_credentials(path: Path) -> Credentials | None:
    """The daemon that listens on *path*; None without one, or if it accepts no connection now.

    Raises:
      ControlError: we may not connect.
    """
    size = struct.calcsize("3i")
    try:
        with _connect(path) as sock:
            found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    except BlockingIOError:
        return None
    except OSError as error:
        why = _as_control_error(path, error)
        if isinstance(why, NotRunningError):
            return None
        raise why from error
    return Credentials(*struct.unpack("3i", found))


class _Reader:
    """One request, and the reading of its reply. Pure."""

    def __init__(self, path: Path, method: str, target: str, body: msgspec.Struct | None) -> None:
        self._path = path
        self._http = h11.Connection(h11.CLIENT)
        self._status = 0
        self._error = b""
        self.begun = False
        """Whether the reply's head has been received, and it is no error."""
        self.ended = False
        """Whether the reply is complete."""
        data = b"" if body is None else msgspec.json.encode(body)
        headers = [("Host", "localhost"), ("Connection", "close")]
        if method == "POST":
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        self.request = b"".join(
            self._http.send(event) or b""
            for event in (
                h11.Request(method=method, target=target, headers=headers),
                h11.Data(data=data),
                h11.EndOfMessage(),
            )
        )

    def receive(self, data: bytes) -> bytes:
        """The part of the body in *data*; no data: the end of the connection.

        Raises:
          ControlError: it is an error, or no HTTP, or the reply breaks off.
        """
        body = []
        try:
            self._http.receive_data(data)
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                    self.begun = self._status < HTTPStatus.BAD_REQUEST
                elif isinstance(event, h11.Data):
                    body.append(event.data)
                elif not isinstance(event, h11.InformationalResponse):
                    self.ended = True
                    break
        except h11.RemoteProtocolError as error:
            raise ControlError(self._why_broken(error)) from error
        if self._status < HTTPStatus.BAD_REQUEST:
            return b"".join(body)
        self._error += b"".join(body)
        if self.ended:
            raise RefusedError(self._status, _text_of(self._error))
        return b""

    def _why_broken(self, error: h11.RemoteProtocolError) -> str:
        if self.begun:
            return f"{self._path}: the reply breaks off; see the daemon's log"
        return f"{self._path}: malformed reply (another version of cuberouted?): {error}"


class _LineSplitter:
    """Lines, of pieces of a stream."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* completes, but for empty ones, which are heartbeats."""
        *found, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise ControlError(f"{self._path}: no newline in {len(self._rest)} bytes")
        return [line for line in found if line]


def _query(
    path: Path, method: str, target: str, body: msgspec.Struct | None, kind: type[T], timeout: float
) -> T:
    reader = _Reader(path, method, target, body)
    with _errors(path), closing(_connect(path)) as sock:
        sock.settimeout(timeout)
        sock.sendall(reader.request)
        received = []
        while not reader.ended:
            received.append(reader.receive(sock.recv(RECEIVE)))
    try:
        return msgspec.json.decode(b"".join(received), type=kind)
    except DECODE_ERRORS as error:
        raise ControlError(
            f"{path}: malformed reply (another version of cuberouted?): {error}"
        ) from error


def _text_of(error: bytes) -> str:
    try:
        return msgspec.json.decode(error, type=ErrorReply).error
    except DECODE_ERRORS:
        return error[:200].decode(errors="replace")


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Raise what the socket raises as a ControlError."""
    try:
        yield
    except (TimeoutError, trio.TooSlowError):
        raise ControlError(f"{path}: the daemon does not answer") from None
    except OSError as error:
        raise _as_control_error(path, error) from error
    except trio.BrokenResourceError:
        raise ControlError(f"{path}: the daemon has closed the connection") from None


def _connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT)
    try:
        sock.connect(str(path))
    except BaseException:
        sock.close()
        raise
    return sock


def _as_control_error(path: Path, error: OSError) -> ControlError:
    if error.errno in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}:
        return NotRunningError(f"{path}: cuberouted is not running")
    if error.errno == errno.EACCES:
        return ControlError(f"{path}: permission denied; be root or in the group of that socket")
    return ControlError(f"{path}: {error.strerror or error}")
