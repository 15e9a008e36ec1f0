"""Opening a connection to OpenVPN's management interface."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import trio

from cuberouted.config import OpenVPNConfig

CONNECT_TIMEOUT = 5.0
"""Seconds for a connection to come about: it has a place for one more than is served, and
beyond that the kernel keeps us waiting."""

BUSY = "does not take another connection: another program holds it, and a second one waits"


class DialError(Exception):
    """No connection; str() says to what, and why."""


class Dialer(Protocol):
    """Where management connections come from."""

    async def dial(self, config: OpenVPNConfig, /) -> trio.abc.Stream:
        """A connection to that OpenVPN.

        Raises:
          DialError: there is none to be had now.
        """


class ManagementDialer:
    """Dials real OpenVPN processes.

    *address_of* tells an interface's IPv4 address as text, or None while it has none.
    """

    def __init__(self, address_of: Callable[[str], str | None]) -> None:
        self._address_of = address_of

    async def dial(self, config: OpenVPNConfig) -> trio.abc.Stream:
        """A connection over the Unix socket, or to the first host that accepts one."""
        if config.mgmt_socket is not None:
            return await _unix(config.mgmt_socket)
        problems: list[str] = []
        for host in self._hosts(config):
            try:
                return await _tcp(host, config.mgmt_port)
            except DialError as exc:
                problems.append(str(exc))
        raise DialError("; ".join(problems))

    def _hosts(self, config: OpenVPNConfig) -> list[str]:
        if config.mgmt_host is not None:
            return [config.mgmt_host]
        address = self._address_of(config.data_interface)
        return ["127.0.0.1"] if address is None else ["127.0.0.1", address]


class QuickAckStream(trio.abc.Stream):
    """A TCP stream that acknowledges at once what it has read.

    Otherwise Nagle's algorithm in OpenVPN waits for our delayed acknowledgement, 41 ms an
    answer; the kernel forgets the option, so it is set after every receive (tcp(7)).
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio's."""
        data = await self._stream.receive_some(max_bytes)
        self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return bytes(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio's."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As trio's."""
        await self._stream.aclose()


def read_password(path: Path | None) -> bytes | None:
    """The first line of the password file; None: there is none.

    Raises:
      DialError: it cannot be read.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.readline(MAX_PASSWORD).rstrip(b"\r\n")
    except OSError as exc:
        raise DialError(f"the password file {path}: {exc.strerror}") from exc


MAX_PASSWORD = 4096
"""What OpenVPN itself reads of a password is shorter (USER_PASS_LEN)."""


async def _tcp(host: str, port: int) -> trio.abc.Stream:
    where = f"{host} port {port}"
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            return QuickAckStream(await trio.open_tcp_stream(host, port))
    except trio.TooSlowError:
        raise DialError(f"{where} {BUSY}") from None
    except OSError as exc:
        raise DialError(f"{where}: {_reason(exc)}") from exc


async def _unix(path: Path) -> trio.abc.Stream:
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            stream = await trio.open_unix_socket(path)
    except trio.TooSlowError:
        raise DialError(f"{path} {BUSY}") from None
    except OSError as exc:
        raise DialError(f"{path}: {_reason(exc)}") from exc
    try:
        stream.socket.getpeername()
    except OSError:
        # A full backlog answers EAGAIN, which looks like a connection under way.
        await stream.aclose()
        raise DialError(f"{path} {BUSY}") from None
    return stream


def _reason(exc: OSError) -> str:
    """What the operating system said.

    Where trio tried several addresses of a host, that is in the group behind its own error.
    """
    if isinstance(exc.__cause__, ExceptionGroup):
        attempts = (a for a in exc.__cause__.exceptions if isinstance(a, OSError))
        return ", ".join(sorted({os.strerror(attempt.errno or 0) for attempt in attempts}))
    if isinstance(exc, PermissionError):
        return f"{exc.strerror}: cuberouted's user may not use it"
    return exc.strerror or str(exc)
