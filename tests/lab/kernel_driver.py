"""A real kernel's surroundings: a host of the lab, with links whose cables we hold."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.kernel_driver import MAIN, STATIC
from tests.lab.host import Host
from tests.lab.waiting import wait_for

_TUNSETIFF, _TUNSETCARRIER = 0x400454CA, 0x400454E2  # linux/if_tun.h
_IFF_TUN, _IFF_TAP, _IFF_NO_PI = 0x1, 0x2, 0x1000
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


class RealWorld:
    """Does what `KernelDriver` says with iproute2, and with tun devices that it keeps open."""

    def __init__(self) -> None:
        self._host = Host("kernel")
        self._host.wait_ready()
        # no address and no neighbour talk of the kernel's own: a test says what happens
        self._host.run("sysctl", "-qw", "net.ipv6.conf.default.addr_gen_mode=1")
        self._host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self._cables: dict[str, int] = {}

    def close(self) -> None:
        """Ends the namespace, and all that is in it."""
        for cable in self._cables.values():
            os.close(cable)
        self._host.close()

    def run(self, *argv: str) -> str:
        """What a program wrote that was run in the namespace."""
        return self._host.run(*argv)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace meanwhile. Sockets made here stay there."""
        with Path("/proc/thread-self/ns/net").open() as home:
            self._enter(Path(f"/proc/{self._host.pid}/ns/net"))
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    @staticmethod
    def _enter(namespace: Path) -> None:
        with namespace.open() as there:
            _set_namespace(there.fileno())

    def add_tunnel(self, name: str) -> int:
        """See `KernelDriver`."""
        return self._add(name, _IFF_TUN)

    def add_ethernet(self, name: str) -> int:
        """See `KernelDriver`."""
        return self._add(name, _IFF_TAP)

    def _add(self, name: str, kind: int) -> int:
        with self.inside():
            cable = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            self._cables[name] = cable
            fcntl.ioctl(cable, _TUNSETIFF, struct.pack("16sH22x", name.encode(), kind | _IFF_NO_PI))
        self._host.ip(f"link set {name} up")
        [link] = json.loads(self._host.run("ip", "-j", "link", "show", "dev", name))
        index: int = link["ifindex"]
        return index

    def add_altname(self, name: str, altname: str) -> None:
        """See `KernelDriver`."""
        self._host.ip(f"link property add dev {name} altname {altname}")

    def set_up(self, name: str, up: bool) -> None:
        """See `KernelDriver`."""
        self._host.ip(f"link set {name} {'up' if up else 'down'}")

    def set_carrier(self, name: str, on: bool) -> None:
        """See `KernelDriver`."""
        fcntl.ioctl(self._cables[name], _TUNSETCARRIER, struct.pack("i", on))

    def remove_link(self, name: str) -> None:
        """See `KernelDriver`."""
        cable = self._cables.pop(name, None)
        if cable is not None:
            os.close(cable)

    def add_address(self, name: str, address: str) -> None:
        """See `KernelDriver`."""
        self._host.ip(f"address add {address} dev {name}")
        untested = ("ip", "-6", "address", "show", "dev", name, "tentative")
        wait_for("the address to be ready", lambda: not self._host.run(*untested))

    def remove_address(self, name: str, address: str) -> None:
        """See `KernelDriver`."""
        self._host.ip(f"address del {address} dev {name}")

    def add_route(
        self, prefix: str, name: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """See `KernelDriver`."""
        self._route("add", prefix, f"dev {name}", metric, protocol, table)

    def add_blackhole(self, prefix: str, metric: int, table: int = MAIN) -> None:
        """See `KernelDriver`."""
        self._route("add blackhole", prefix, "", metric, STATIC, table)

    def remove_route(
        self, prefix: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """See `KernelDriver`."""
        self._route("del", prefix, "", metric, protocol, table)

    def steal_route(
        self, prefix: str, name: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """See `KernelDriver`."""
        self._route("replace", prefix, f"dev {name}", metric, protocol, table)

    def _route(
        self, verb: str, prefix: str, through: str, metric: int, protocol: int, table: int
    ) -> None:
        family = "-6" if ":" in prefix else "-4"
        self._host.run(
            *f"ip {family} route {verb} {prefix} {through} metric {metric}"
            f" proto {protocol} table {table}".split()
        )

    def add_nexthop(self, id_: int, name: str, protocol: int) -> None:
        """See `KernelDriver`."""
        self._host.ip(f"nexthop add id {id_} dev {name} proto {protocol}")

    def steal_nexthop(self, id_: int, name: str, protocol: int) -> None:
        """See `KernelDriver`."""
        self._host.ip(f"nexthop replace id {id_} dev {name} proto {protocol}")

    def remove_nexthop(self, id_: int) -> None:
        """See `KernelDriver`."""
        self._host.ip(f"nexthop del id {id_}")

    def add_rule(self, priority: int, table: int, protocol: int = 0) -> None:
        """See `KernelDriver`."""
        self._host.ip(f"rule add priority {priority} table {table} protocol {protocol}")

    def remove_rules(self, priority: int, table: int) -> None:
        """See `KernelDriver`."""
        for family in ("-4", "-6"):
            rule = ("priority", str(priority), "table", str(table))
            self._host.try_run("ip", family, "rule", "del", *rule)  # one may be there

    def rules(self) -> Sequence[tuple[int, int]]:
        """See `KernelDriver`."""
        rows = [
            row
            for family in ("-4", "-6")
            for row in json.loads(self._host.run("ip", "-N", "-j", family, "rule"))
        ]
        added = [row for row in rows if 0 < row["priority"] < 32766]
        return sorted((row["priority"], int(row["table"])) for row in added)


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
