"""Listens on a TCP address for an `HttpServer`."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Final

import trio

from cuberouted.api.http import Client
from cuberouted.api.http_server import HttpServer
from cuberouted.config import ListenAddress
from cuberouted.web.request_filter import plain_address

BACKLOG: Final = 128
"""Connections that wait until they are accepted."""

SEND_BUFFER: Final = 256 * 1024
"""Bytes that the kernel holds for a client that does not read. It would take several MB."""

UNACKNOWLEDGED: Final = 30_000
"""Milliseconds after which the kernel ends a connection on which nothing that was sent is
acknowledged: the client is gone, or it does not read (tcp(7), TCP_USER_TIMEOUT)."""

MIN_RETRY_DELAY: Final = 0.25
"""Seconds until an address that cannot be bound is tried again; doubled up to `MAX_RETRY_DELAY`."""

MAX_RETRY_DELAY: Final = 30.0

IP_FREEBIND: Final = 15
"""Bind an address that this host does not have yet, as of a tunnel that comes up later:
linux/in.h. IPv6 has an option of its own: linux/in6.h."""

IPV6_FREEBIND: Final = 78

_BIND_ERRORS: Final = {
    errno.EADDRINUSE: "the port is in use (`ss -ltnp` shows by what): use another one",
    errno.EACCES: "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
}


async def serve(
    listen: ListenAddress, server: HttpServer, on_problem: Callable[[str], None]
) -> None:
    """Let *server* serve *listen* until cancelled.

    While it cannot be bound, it is tried again and again. *on_problem* is called with the reason
    when it fails, and with an empty string once it works.
    """
    delay = MIN_RETRY_DELAY
    while True:
        try:
            sock = _bind(listen)
        except OSError as error:
            on_problem(_BIND_ERRORS.get(error.errno or 0, error.strerror or str(error)))
            await trio.sleep(delay)
            delay = min(2 * delay, MAX_RETRY_DELAY)
        else:
            break
    on_problem("")
    with sock:
        await server.serve(trio.SocketListener(sock), _client_of)


def _bind(listen: ListenAddress) -> trio.socket.SocketType:
    ipv6 = ":" in listen.address
    sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # :: is IPv4, too
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        # connections inherit these
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        sock.bind((listen.address, listen.port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return trio.socket.from_stdlib_socket(sock)


async def _client_of(stream: trio.SocketStream) -> Client:
    local = plain_address(stream.socket.getsockname()[0])
    remote = plain_address(stream.socket.getpeername()[0])
    return Client(remote, reads=True, changes=False, local_address=local, origin=network_of(remote))


def network_of(address: str) -> str:
    """What belongs to one host: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, 64), strict=False))
