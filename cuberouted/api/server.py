"""The daemon's side of the control socket.

The socket's mode, and the credentials that the kernel reports (SO_PEERCRED), decide who may ask.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import logging
import os
import socket
import stat
import struct
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import ExitStack, aclosing, contextmanager, suppress
from pathlib import Path

import attrs
import msgspec
import trio

from cuberouted.api.client import is_served
from cuberouted.api.protocol import (
    DECODE_ERRORS,
    GROUP,
    MAX_REQUEST,
    TIMEOUT,
    ControlError,
    ErrorReply,
    Request,
    UnwritableError,
)
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

log = logging.getLogger(__name__)

MAX_CLIENTS = 16
"""Clients served at once; more wait in the backlog."""

SO_PEERGROUPS = 59
"""The supplementary groups of the connected process: asm-generic/socket.h."""

_FILE_SYSTEM_ERRORS = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO})

Handlers = Mapping[str, Callable[[], msgspec.Struct | AsyncGenerator[bytes]]]
"""By the name of the request: what returns the reply, or yields its JSON in parts.

A long reply comes in parts, between which other tasks run.
"""


@attrs.frozen
class ControlSocket:
    """A listening control socket. ``group``: the id of the group whose members may ask."""

    listener: trio.SocketListener
    group: int


@contextmanager
def listening(path: Path) -> Iterator[ControlSocket]:
    """Listen on the control socket *path*, which no other daemon uses meanwhile.

    Raises:
      ControlError: another daemon uses it, or it cannot be created.
      UnwritableError: it cannot be created, because the file system is full or read-only.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(path))
            if is_served(path):
                raise ControlError(
                    f"{path}: another program listens on this socket; give cuberouted another"
                    " control_socket"
                )
            sock = _bind(path)
        except OSError as error:
            kind = UnwritableError if error.errno in _FILE_SYSTEM_ERRORS else ControlError
            raise kind(f"{path}: cannot create the control socket: {error.strerror}") from error
        stack.callback(_remove, path, path.stat().st_ino)
        stack.callback(sock.close)
        yield ControlSocket(trio.SocketListener(sock), path.stat().st_gid)


def _remove(path: Path, inode: int) -> None:
    with suppress(OSError):  # a socket that is left behind does no harm
        if path.stat().st_ino == inode:  # not if another daemon has replaced a lost one
            path.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the control socket: a file beside it, because the socket is replaced.

    The kernel releases the lock when the process ends, however it ends. The file stays, because
    another daemon may have opened it already. Reading is enough to lock it, so one that root has
    left behind is no obstacle for the user cuberouted.
    """
    lock = path.with_name(path.name + ".lock")
    file = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ControlError(
                f"{path}: another cuberouted is running with this control socket; stop it, or give"
                " this one another control_socket"
            ) from None
        yield
    finally:
        os.close(file)


class _LimitedListener(trio.abc.Listener[trio.SocketStream]):
    """Accepts a connection only while fewer than MAX_CLIENTS are open; others stay queued."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self.free = trio.Semaphore(MAX_CLIENTS)

    async def accept(self) -> trio.SocketStream:
        await self.free.acquire()
        try:
            return await self._listener.accept()
        except BaseException:
            self.free.release()
            raise

    async def aclose(self) -> None:
        await self._listener.aclose()


async def serve(control: ControlSocket, handlers: Handlers) -> None:
    """Reply to requests until cancelled."""
    listener = _LimitedListener(control.listener)
    log_limit = LogRateLimit()

    async def handle(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await _handle(stream, control.group, handlers, log_limit)
        finally:
            listener.free.release()

    await trio.serve_listeners(handle, [listener])


async def _handle(
    stream: trio.SocketStream, group: int, handlers: Handlers, log_limit: LogRateLimit
) -> None:
    try:
        with trio.fail_after(TIMEOUT):
            line = await _receive_line(stream)
        allowed = handlers if _is_authorized(stream.socket, group) else {}
        async with aclosing(reply(line, allowed, log_limit)) as parts:
            async for part in parts:
                with trio.fail_after(TIMEOUT):
                    await stream.send_all(part)
    except (trio.BrokenResourceError, trio.TooSlowError):
        log.debug("control: a client left before the end of its reply")


async def reply(line: bytes, handlers: Handlers, log_limit: LogRateLimit) -> AsyncGenerator[bytes]:
    """The reply to the request in *line*, in parts. No *handlers*: the client may ask nothing.

    An exception in a handler becomes an error reply, or if a part has been sent already, the
    premature end of the reply; it is logged with its traceback.
    """
    try:
        request = msgspec.json.decode(line, type=Request)
    except DECODE_ERRORS as error:
        yield msgspec.json.encode(ErrorReply(f"malformed request: {error}"))
        return
    if request.ask not in handlers:
        yield msgspec.json.encode(ErrorReply(_why_unknown(handlers)))
        return
    begun = False
    try:
        result = handlers[request.ask]()
        if isinstance(result, msgspec.Struct):
            yield msgspec.json.encode(result)
            return
        async with aclosing(result):
            async for part in result:
                begun = True
                yield part
    except Exception:
        suppressed = log_limit.allow(request.ask, trio.current_time())
        if suppressed is not None:
            note = suppressed_note(suppressed)
            log.exception("control: request %r failed%s", request.ask, note)
        if not begun:
            yield msgspec.json.encode(ErrorReply("internal error; see the daemon's log"))


def _why_unknown(handlers: Handlers) -> str:
    if not handlers:
        return f"permission denied; be root or in the group {GROUP}"
    return f"unknown request; known are: {', '.join(handlers)}"


def _bind(path: Path) -> trio.socket.SocketType:
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()  # left by a daemon that was killed
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
    if os.geteuid() != 0:
        return  # systemd starts the daemon in the group
    try:
        os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
    except KeyError:
        log.debug("control: there is no group %s; only root may ask", GROUP)


def _is_authorized(sock: trio.socket.SocketType | socket.socket, group: int) -> bool:
    _pid, uid, gid = struct.unpack(
        "iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    if uid in {0, os.geteuid()} or gid == group:
        return True
    try:
        groups = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:  # it is in more groups than fit
        return False
    return group in struct.unpack(f"{len(groups) // 4}I", groups)


async def _receive_line(stream: trio.SocketStream) -> bytes:
    line = b""
    while b"\n" not in line and len(line) <= MAX_REQUEST:
        data = await stream.receive_some(MAX_REQUEST)
        if not data:
            break
        line += data
    return line
