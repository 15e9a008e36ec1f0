"""The daemon's side of the control socket: a Unix socket that speaks HTTP.

The socket's mode, and the credentials that the kernel reports (SO_PEERCRED), decide who may read
and who may change something.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs
import trio

from cuberouted.api.client import is_served
from cuberouted.api.http import Client
from cuberouted.api.http_server import HttpServer
from cuberouted.api.protocol import GROUP, GROUP_ADMIN, ControlError, UnwritableError
from cuberouted.util.tasks import run_in_thread

log = logging.getLogger(__name__)

BACKLOG = 128
"""Connections that wait until they are accepted."""

NAME_TIMEOUT = 1.0
"""Seconds in which the name of a user is looked up."""

SO_PEERGROUPS = 59
"""The supplementary groups of the connected process: asm-generic/socket.h."""

_FILE_SYSTEM_ERRORS = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO})


@attrs.frozen
class ControlSocket:
    """A listening control socket.

    ``group``: the id of the group whose members may read. ``admin_group``: of the one whose
    members may also change something; None: it does not exist.
    """

    listener: trio.SocketListener
    group: int
    admin_group: int | None = None


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
        yield ControlSocket(trio.SocketListener(sock), path.stat().st_gid, _group_id(GROUP_ADMIN))


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


async def serve(control: ControlSocket, server: HttpServer) -> None:
    """Let *server* serve the control socket until cancelled."""

    async def client_of(stream: trio.SocketStream) -> Client:
        return await identify(stream.socket, control.group, control.admin_group)

    await server.serve(control.listener, client_of)


async def identify(
    sock: trio.socket.SocketType | socket.socket, group: int, admin_group: int | None
) -> Client:
    """Who is connected by *sock*: the kernel reports the credentials at its connect().

    *group* may read, *admin_group* may also change something (see `ControlSocket`).
    """
    _pid, uid, gid = struct.unpack(
        "iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    groups = {gid, *_supplementary_groups(sock)}
    changes = uid == 0 or admin_group in groups
    reads = changes or uid == os.geteuid() or group in groups
    user = "root" if uid == 0 else f"uid {uid}"
    if changes and uid != 0:  # a database on the network may be slow to tell the name
        with trio.move_on_after(NAME_TIMEOUT):
            user = await run_in_thread(_with_name, uid)
    needed = GROUP_ADMIN if reads else GROUP
    return Client(user, reads, changes, f"be root or in the group {needed}")


def _with_name(uid: int) -> str:
    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"


def _supplementary_groups(sock: trio.socket.SocketType | socket.socket) -> tuple[int, ...]:
    try:
        groups = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:  # it is in more groups than fit
        return ()
    return struct.unpack(f"{len(groups) // 4}I", groups)


def _bind(path: Path) -> trio.socket.SocketType:
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()  # left by a daemon that was killed
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o660)
        _give_to_group(path)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return trio.socket.from_stdlib_socket(sock)


def _give_to_group(path: Path) -> None:
    if os.geteuid() != 0:
        return  # systemd starts the daemon in the group
    group = _group_id(GROUP)
    if group is None:
        log.debug("control: there is no group %s; only root may read", GROUP)
    else:
        os.chown(path, -1, group)


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
