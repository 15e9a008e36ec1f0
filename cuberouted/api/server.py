"""The Unix socket behind `status`, `clients` and `dump-routes`.

One question a connection: a line with a JSON object ``{"ask": NAME}``, answered by one
JSON object and the end of the stream. All questions only read. Who may ask is told by the
socket's mode, and by the kernel's word on who has connected.
"""

from __future__ import annotations

import errno
import grp
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

log = logging.getLogger(__name__)

MAX_REQUEST = 4096
"""Bytes; ours are below 50."""

TIMEOUT = 5.0
"""Seconds a client may take to ask, and to take its answer."""

MAX_CLIENTS = 16
"""Served at once; more wait in the backlog."""

GROUP = "cuberouted"
"""Whose members may ask, besides root and the daemon's own user."""

SO_PEERGROUPS = 59
"""The supplementary groups of who has connected: asm-generic/socket.h."""

DECODE_ERRORS = (ValueError, RecursionError)
"""What msgspec raises for bytes that are no JSON of ours; its own errors are ValueErrors."""

UNWRITABLE = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""What is the file system's fault, and no mistake in the configuration."""

Handlers = Mapping[str, Callable[[], object]]

T = TypeVar("T")


class ControlError(Exception):
    """The control socket cannot be used; the text says why and what to do."""


class NotRunningError(ControlError):
    """Nobody listens on the control socket."""


class UnwritableError(ControlError):
    """The file system has no room for the control socket, or is read-only."""


class Request(msgspec.Struct):
    """What a client asks for."""

    ask: str


class ErrorReply(msgspec.Struct):
    """The answer to a question that nobody can answer."""

    error: str


@contextmanager
def listening(path: Path) -> Iterator[trio.SocketListener]:
    """The control socket, ours alone, removed at the end.

    Raises:
      ControlError: a daemon uses it already, or it cannot be made.
      UnwritableError: it cannot be made, for want of a file system that takes it.
    """
    if is_served(path):
        raise ControlError(
            f"{path}: a cuberouted runs already; give this one another control_socket"
        )
    try:
        sock = _bound(path)
    except OSError as error:
        kind = UnwritableError if error.errno in UNWRITABLE else ControlError
        raise kind(f"{path}: cannot make the control socket: {error.strerror}") from error
    try:
        yield trio.SocketListener(sock)
    finally:
        sock.close()
        with suppress(OSError):  # what is left there does no harm
            path.unlink()


async def serve(listener: trio.SocketListener, answers: Handlers) -> None:
    """Answer for ever."""
    limit = trio.CapacityLimiter(MAX_CLIENTS)
    group = _group(listener)

    async def handle(stream: trio.SocketStream) -> None:
        async with limit, stream:
            with trio.move_on_after(TIMEOUT):
                try:
                    line = await _line(stream)
                    known = answers if _is_authorized(stream.socket, group) else {}
                    await stream.send_all(answer(line, known))
                except trio.BrokenResourceError:
                    log.debug("control: a client left before its answer")

    await trio.serve_listeners(handle, [listener])


def answer(line: bytes, answers: Handlers) -> bytes:
    """What is said to a question; a question that makes no sense gets an `error`."""
    try:
        question = msgspec.json.decode(line, type=Request)
    except DECODE_ERRORS as error:
        return msgspec.json.encode(ErrorReply(f"not a question: {error}"))
    if not answers:
        return msgspec.json.encode(ErrorReply(f"be root or in the group {GROUP} to ask"))
    if question.ask not in answers:
        return msgspec.json.encode(ErrorReply(f"ask for one of: {', '.join(answers)}"))
    return msgspec.json.encode(answers[question.ask]())


def ask(path: Path, question: str, kind: type[T]) -> T:
    """What the daemon behind *path* answers, as a *kind*.

    Raises:
      NotRunningError: no daemon.
      ControlError: no permission, no answer, or one of another version of cuberouted.
    """
    try:
        with _connected(path) as sock:
            sock.sendall(msgspec.json.encode(Request(question)) + b"\n")
            sock.shutdown(socket.SHUT_WR)
            said = b"".join(iter(lambda: sock.recv(65536), b""))
        return msgspec.json.decode(said, type=kind)
    except TimeoutError:
        raise ControlError(f"{path}: the daemon does not answer") from None
    except OSError as error:
        raise _as_control_error(path, error) from error
    except DECODE_ERRORS as error:
        raise ControlError(f"{path}: an answer that makes no sense: {error}") from error


def is_served(path: Path) -> bool:
    """Whether a daemon listens there.

    Raises:
      ControlError: we may not know.
    """
    try:
        _connected(path).close()
    except BlockingIOError:
        return True  # it listens, and is busy
    except OSError as error:
        why = _as_control_error(path, error)
        if isinstance(why, NotRunningError):
            return False
        raise why from error
    return True


def _connected(path: Path) -> socket.socket:
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
        return NotRunningError(f"{path}: no cuberouted is running here")
    if error.errno == errno.EACCES:
        return ControlError(f"{path}: permission denied; be root or in the group of that socket")
    return ControlError(f"{path}: {error.strerror or error}")


def _bound(path: Path) -> trio.socket.SocketType:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()  # left by a daemon that was killed: `is_served` has asked
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o660)
        _give_to_group(path)
        sock.listen(MAX_CLIENTS)
    except BaseException:
        sock.close()
        raise
    return trio.socket.from_stdlib_socket(sock)


def _give_to_group(path: Path) -> None:
    """As root the socket would be root's alone; systemd's unit runs us in the group anyway."""
    if os.geteuid() != 0:
        return
    try:
        os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
    except KeyError:
        log.debug("control: there is no group %s; only root may ask", GROUP)


def _group(listener: trio.SocketListener) -> int:
    return Path(listener.socket.getsockname()).stat().st_gid


def _is_authorized(sock: trio.socket.SocketType | socket.socket, group: int) -> bool:
    _pid, uid, gid = struct.unpack(
        "iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    if uid in {0, os.geteuid()} or gid == group:
        return True
    try:
        groups = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:  # in more groups than fit
        return False
    return group in struct.unpack(f"{len(groups) // 4}I", groups)


async def _line(stream: trio.SocketStream) -> bytes:
    line = b""
    while b"\n" not in line and len(line) <= MAX_REQUEST:
        more = await stream.receive_some(MAX_REQUEST)
        if not more:
            break
        line += more
    return line
