"""Hears what changes in the kernels of hosts, and when: the clock of the benchmarks.

A thread does nothing but receive and note the time; what it noted is read afterwards. All
times are Unix seconds, as OpenVPN's log has them.
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
from tests.bench.priority import hear_at_once
from tests.lab.host import Host
from tests.lab.waiting import wait_for

_CLONE_NEWNET = 0x40000000
_SOL_NETLINK, _ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 270, 1, 33
_GROUPS = (7, 32)  # IPV4_ROUTE, NEXTHOP
_BUFFER = 1 << 28
_KIND = struct.Struct("=4xH")
_libc = ctypes.CDLL(None, use_errno=True)

ADDED, DELETED, NEXTHOP_DELETED = RTM_NEWROUTE, RTM_DELROUTE, RTM_DELNEXTHOP

_NO_ROUTE = StrayRoute(Prefix.parse("192.0.2.255"), 254, 77)
_NOBODY = 203


class Heard(NamedTuple):
    """A route that was added or deleted, and when. ``device`` is None where it is unknown."""

    at: float
    kind: int
    prefix: Prefix
    device: int | None


@contextlib.contextmanager
def inside(host: Host) -> Iterator[None]:
    """This thread is in the network namespace of *host* meanwhile; sockets made there stay."""
    with (
        Path("/proc/thread-self/ns/net").open() as home,
        Path(f"/proc/{host.pid}/ns/net").open() as there,
    ):
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


class Ear:
    """What is heard on one host.

    ``counts``: notices so far, by their kind. ``last_at``: when the last one came.
    ``deleted_nexthop_at``: when a nexthop object was gone, and all its routes.
    """

    def __init__(self, host: Host) -> None:
        with inside(host):
            self.socket, self._asking = (
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
        self._noted: list[tuple[float, bytes]] = []

    def receive(self) -> None:
        """Takes all that has come, noting the time of each."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self.socket.recv(1 << 16)
                self.last_at = now = time.time()
                self._noted.append((now, data))
                [kind] = _KIND.unpack_from(data)
                if kind == NEXTHOP_DELETED:
                    self._wait_for_the_kernel()
                # last of all, because `wait` looks at nothing else
                self.counts[kind] = self.counts.get(kind, 0) + 1

    def close(self) -> None:
        """Hears no more."""
        self.socket.close()
        self._asking.close()

    def forget(self) -> None:
        """Begins anew."""
        self._noted = []
        self.counts = dict.fromkeys(self.counts, 0)

    def heard(self) -> Iterator[Heard]:
        """The routes so far, oldest first."""
        for at, data in list(self._noted):
            for message in messages(data):
                if message.type in (ADDED, DELETED):
                    row = read_route(message.body)
                    yield Heard(at, message.type, row.prefix, row.device)

    def _wait_for_the_kernel(self) -> None:
        # it tells of a nexthop object before it removes the routes of that, and holds the lock
        # of this namespace's routes meanwhile; deleting a route waits for the lock
        self._asking.send(RouteWriter(254, 77, _NOBODY).delete_stray(1, _NO_ROUTE))
        self.deleted_nexthop_at = time.time()

    def wait(
        self, what: str, enough: Callable[[dict[int, int]], bool], timeout: float = 30.0
    ) -> None:
        """Waits until the counts are *enough*."""
        wait_for(f"{self.name} to hear {what}", lambda: enough(self.counts), timeout)

    def wait_route(self, kind: int, address: str, device: int | None = None) -> float:
        """When such a route was heard of first, once it has been."""
        wanted = Prefix.parse(address)

        def look() -> float:
            for one in self.heard():
                if one.kind == kind and one.prefix == wanted and device in (None, one.device):
                    return one.at
            return 0.0

        return wait_for(f"{self.name} to hear of {address}", look, timeout=40.0)


class Ears:
    """Ears on any number of hosts. A context manager.

    ``prompt``: they are heard before whoever changes the kernel goes on with something else.
    Where many routes change, that would hold up who is measured.
    """

    def __init__(self, *hosts: Host, prompt: bool = False) -> None:
        self._prompt = prompt
        self._selector = selectors.DefaultSelector()
        self._ears = [Ear(host) for host in hosts]
        for ear in self._ears:
            self._selector.register(ear.socket, selectors.EVENT_READ, ear)
        self._stop, self._stopped = os.pipe()
        self._selector.register(self._stop, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        self._selector.close()
        for ear in self._ears:
            ear.close()

    def __getitem__(self, number: int) -> Ear:
        return self._ears[number]

    def __iter__(self) -> Iterator[Ear]:
        return iter(self._ears)

    def _listen(self) -> None:
        if self._prompt:
            hear_at_once()
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
