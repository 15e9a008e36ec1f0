"""Monitors the route changes of hosts' kernels: the clock of the benchmarks.

A thread only receives rtnetlink notifications and stores them with the time; they are decoded
afterwards. All times are Unix seconds, as in OpenVPN's log.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from cuberouted.model import Prefix
from cuberouted.routing.linux.netlink import (
    RTM_DELNEXTHOP,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    messages,
)
from cuberouted.routing.linux.routemsg import RouteWriter, read_route
from cuberouted.routing.types import StrayRoute
from tests.bench.priority import monitors_first
from tests.lab.host import Host
from tests.lab.waiting import wait_for

_CLONE_NEWNET = 0x40000000
_SOL_NETLINK, _ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 270, 1, 33
_GROUPS = (7, 32)  # IPV4_ROUTE, NEXTHOP
_BUFFER = 1 << 28
_TYPE = struct.Struct("=4xH")
_libc = ctypes.CDLL(None, use_errno=True)

ADDED, DELETED, NEXTHOP_DELETED = RTM_NEWROUTE, RTM_DELROUTE, RTM_DELNEXTHOP

_ABSENT_ROUTE = StrayRoute(Prefix.parse("192.0.2.255"), 254, 77)
_UNUSED_PROTOCOL = 203


class RouteNotification(NamedTuple):
    """A route was added or deleted. ``type``: `ADDED` or `DELETED`. ``device`` may be unknown."""

    at: float
    type: int
    prefix: Prefix
    device: int | None


@contextlib.contextmanager
def inside(host: Host) -> Iterator[None]:
    """Run this thread in the network namespace of *host*; sockets made meanwhile stay in it."""
    with (
        Path("/proc/thread-self/ns/net").open() as home,
        Path(f"/proc/{host.pid}/ns/net").open() as there,
    ):
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


class RouteMonitor:
    """Receives the notifications of one host.

    ``counts``: messages received so far, by type. ``last_at``: when the last one was received.
    ``deleted_nexthop_at``: when a nexthop object and all its routes had been removed.
    """

    def __init__(self, host: Host) -> None:
        with inside(host):
            self.socket, self._requests = (
                socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
                for _ in range(2)
            )
        self.socket.bind((0, 0))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        for group in _GROUPS:
            self.socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self.name = host.name
        self.counts = {ADDED: 0, DELETED: 0, NEXTHOP_DELETED: 0}
        self.last_at = 0.0
        self.deleted_nexthop_at = 0.0
        self._received: list[tuple[float, bytes]] = []

    def receive(self) -> None:
        """Receive all pending messages and store each with the time."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self.socket.recv(1 << 16)
                self.last_at = now = time.time()
                self._received.append((now, data))
                [type_] = _TYPE.unpack_from(data)
                if type_ == NEXTHOP_DELETED:
                    self._wait_for_removal()
                # updated last, because `wait` checks the counts only
                self.counts[type_] = self.counts.get(type_, 0) + 1

    def close(self) -> None:
        """Close the sockets."""
        self.socket.close()
        self._requests.close()

    def reset(self) -> None:
        """Drop all messages received so far."""
        self._received = []
        self.counts = dict.fromkeys(self.counts, 0)

    def notifications(self) -> Iterator[RouteNotification]:
        """The route changes so far, oldest first."""
        for at, data in list(self._received):
            for message in messages(data):
                if message.type in (ADDED, DELETED):
                    row = read_route(message.body)
                    yield RouteNotification(at, message.type, row.prefix, row.device)

    def _wait_for_removal(self) -> None:
        # The kernel sends RTM_DELNEXTHOP before it removes the routes of that nexthop, holding
        # the RTNL lock meanwhile; deleting a route waits for the lock.
        self._requests.send(RouteWriter(254, 77, _UNUSED_PROTOCOL).delete_stray(1, _ABSENT_ROUTE))
        self.deleted_nexthop_at = time.time()

    def wait(
        self, what: str, enough: Callable[[dict[int, int]], bool], timeout: float = 30.0
    ) -> None:
        """Wait until *enough* is true of the counts."""
        wait_for(f"notifications on {self.name} {what}", lambda: enough(self.counts), timeout)

    def wait_route(self, type_: int, address: str, device: int | None = None) -> float:
        """Wait for the first such notification. Returns its time."""
        wanted = Prefix.parse(address)

        def look() -> float:
            for one in self.notifications():
                if one.type == type_ and one.prefix == wanted and device in (None, one.device):
                    return one.at
            return 0.0

        return wait_for(f"a notification on {self.name} about {address}", look, timeout=40.0)


class RouteMonitors:
    """Monitors of any number of hosts. A context manager.

    ``realtime``: notifications are received before the process that changed the kernel goes
    on. Where many routes change, that would slow down the process that is measured.
    """

    def __init__(self, *hosts: Host, realtime: bool = False) -> None:
        self._realtime = realtime
        self._selector = selectors.DefaultSelector()
        self._monitors = [RouteMonitor(host) for host in hosts]
        for monitor in self._monitors:
            self._selector.register(monitor.socket, selectors.EVENT_READ, monitor)
        self._stop_read, self._stop_write = os.pipe()
        self._selector.register(self._stop_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stop_write)
        self._thread.join()
        os.close(self._stop_read)
        self._selector.close()
        for monitor in self._monitors:
            monitor.close()

    def __getitem__(self, number: int) -> RouteMonitor:
        return self._monitors[number]

    def __iter__(self) -> Iterator[RouteMonitor]:
        return iter(self._monitors)

    def _listen(self) -> None:
        if self._realtime:
            monitors_first()
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data.receive()


def device_index(host: Host, name: str) -> int:
    """The index of an interface."""
    return int(host.run("cat", f"/sys/class/net/{name}/ifindex"))


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
