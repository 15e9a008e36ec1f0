"""Opens connections to OpenVPN's management interface."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import trio

from cuberouted.config import OpenVPNConfig

CONNECT_TIMEOUT = 5.0
"""Seconds. OpenVPN listens with backlog 1: a third connect() blocks."""

MAX_PASSWORD = 4096
"""Bytes. OpenVPN itself reads less of a password (USER_PASS_LEN)."""

_BUSY = "accepts no further connection: one program is connected, and another one waits"


class DialError(Exception):
    """The connection failed. str() says to what, and why."""


class Dialer(Protocol):
    """Where management connections come from."""

    async def dial(self, config: OpenVPNConfig, /) -> trio.abc.HalfCloseableStream:
        """A new connection to that OpenVPN process.

        Raises:
          DialError: it failed.
        """


class ManagementDialer:
    """Connects to real OpenVPN processes.

    *address_of* returns an interface's IPv4 address as text, or None while it has none.
    """

    def __init__(self, address_of: Callable[[str], str | None]) -> None:
        self._address_of = address_of

    async def dial(self, config: OpenVPNConfig) -> trio.abc.HalfCloseableStream:
        """Connect to the Unix socket, or over TCP to the first host that accepts."""
        if config.mgmt_socket is not None:
            return await _connect_unix(config.mgmt_socket)
        errors: list[str] = []
        for host in management_hosts(config, self._address_of(config.data_interface)):
            try:
                return await _connect_tcp(host, config.mgmt_port)
            except DialError as exc:
                errors.append(str(exc))
        raise DialError("; ".join(errors))


def management_hosts(config: OpenVPNConfig, data_address: str | None) -> list[str]:
    """The hosts to connect to over TCP, in this order, until one accepts.

    *data_address*: the data interface's IPv4 address, None while it has none.
    """
    if config.mgmt_host is not None:
        return [config.mgmt_host]
    # `management tunnel PORT` binds the data interface's address
    return ["127.0.0.1"] if data_address is None else ["127.0.0.1", data_address]


class QuickAckStream(trio.abc.HalfCloseableStream):
    """A TCP stream that acknowledges at once what it has received.

    Otherwise Nagle's algorithm in OpenVPN waits for our delayed acknowledgement, 41 ms an
    answer. The kernel resets the option, so it is set after every receive (tcp(7)).
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`."""
        data = await self._stream.receive_some(max_bytes)
        self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return bytes(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream`."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._stream.aclose()


def read_password(path: Path | None) -> bytes | None:
    """The first line of the password file, or None if there is no file.

    Raises:
      DialError: it cannot be read.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.readline(MAX_PASSWORD).rstrip(b"\r\n")
    except OSError as exc:
        raise DialError(f"cannot read the password file {path}: {exc.strerror}") from exc


async def _connect_tcp(host: str, port: int) -> trio.abc.HalfCloseableStream:
    where = f"{host} port {port}"
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            return QuickAckStream(await trio.open_tcp_stream(host, port))
    except trio.TooSlowError:
        raise DialError(f"{where} {_BUSY}") from None
    except UnicodeError as exc:  # of the idna codec
        raise DialError(f"{where}: not a valid host name") from exc
    except OSError as exc:
        raise DialError(f"{where}: {_reason(exc)}") from exc


async def _connect_unix(path: Path) -> trio.abc.HalfCloseableStream:
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            stream = await trio.open_unix_socket(path)
    except trio.TooSlowError:
        raise DialError(f"{path} {_BUSY}") from None
    except OSError as exc:
        raise DialError(f"{path}: {_reason(exc)}") from exc
    try:
        stream.socket.getpeername()
    except OSError:
        # a full backlog answers EAGAIN, which trio takes for a connection in progress
        await stream.aclose()
        raise DialError(f"{path} {_BUSY}") from None
    return stream


def _reason(exc: OSError) -> str:
    # where trio has tried several addresses of a host, the errors are in the group that caused it
    if isinstance(exc.__cause__, ExceptionGroup):
        attempts = (a for a in exc.__cause__.exceptions if isinstance(a, OSError))
        return ", ".join(sorted({os.strerror(attempt.errno or 0) for attempt in attempts}))
    if isinstance(exc, PermissionError):
        return f"{exc.strerror}: the user cuberouted may not connect to it"
    return exc.strerror or str(exc)
