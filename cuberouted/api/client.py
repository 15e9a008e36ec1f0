"""The commands' side of the control socket."""

from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from cuberouted.api.protocol import (
    DECODE_ERRORS,
    TIMEOUT,
    ControlError,
    ErrorReply,
    NotRunningError,
    Request,
)

T = TypeVar("T")


class Credentials(NamedTuple):
    """A process, and the user and group that it ran as when it began to listen: unix(7)."""

    pid: int
    uid: int
    gid: int


def ask(path: Path, request: str, kind: type[T]) -> T:
    """The reply to *request* of the daemon behind *path*, as a *kind*.

    Raises:
      NotRunningError: no daemon is running.
      ControlError: no permission, no reply, an error, or a reply of another version.
    """
    try:
        with _connect(path) as sock:
            sock.sendall(msgspec.json.encode(Request(request)) + b"\n")
            sock.shutdown(socket.SHUT_WR)
            reply = b"".join(iter(lambda: sock.recv(65536), b""))
    except TimeoutError:
        raise ControlError(f"{path}: the daemon does not answer") from None
    except OSError as error:
        raise _as_control_error(path, error) from error
    try:
        return msgspec.json.decode(reply, type=kind)
    except DECODE_ERRORS as error:
        raise ControlError(f"{path}: {_reason(reply, error)}") from error


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


def _reason(reply: bytes, error: Exception) -> str:
    try:
        return msgspec.json.decode(reply, type=ErrorReply).error
    except DECODE_ERRORS:
        return f"malformed reply (another version of cuberouted?): {error}"


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
