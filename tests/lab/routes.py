"""Routes, nexthops and rules of a host's kernel, and what is deleted meanwhile."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.lab.host import Host
from tests.lab.waiting import wait_for

PROTOCOL = "201"
METRIC = 50
PRIORITY = 5657
MARKER_TABLE = 9999


class Route(NamedTuple):
    """One route; a destination that is one address is written with its /32 or /128."""

    destination: str
    device: str | None
    gateway: str | None
    protocol: str
    metric: int
    source: str | None
    table: str


def routes(host: Host, table: str = "main") -> set[Route]:
    """All routes of a table (``all``: of every one), IPv4 and IPv6."""
    return {
        _route(entry, family, table)
        for family in ("-4", "-6")
        for entry in _show(host, family, "-d", "route", "show", "table", table)
    }


def ours(host: Host, table: str = "main") -> set[Route]:
    """The routes of a table with cuberouted's protocol number."""
    return {route for route in routes(host, table) if route.protocol == PROTOCOL}


def towards(host: Host, table: str = "main") -> dict[str, str | None]:
    """Our routes, short: destination -> device."""
    return {route.destination: route.device for route in ours(host, table)}


def nexthops(host: Host) -> list[dict[str, Any]]:
    """The nexthop objects with cuberouted's protocol number."""
    return [entry for entry in _show(host, "-d", "nexthop") if entry.get("protocol") == PROTOCOL]


def rules(host: Host) -> list[dict[str, Any]]:
    """The rules of cuberouted's priority."""
    both = [*_show(host, "-4", "rule"), *_show(host, "-6", "rule")]
    return [rule for rule in both if rule["priority"] == PRIORITY]


def wait_towards(
    host: Host, wanted: dict[str, str], table: str = "main", timeout: float = 10.0
) -> None:
    """Waits until our routes are *wanted* (destination -> device), and no other."""

    def look() -> bool:
        seen = towards(host, table)
        assert seen == wanted, f"{seen}, wanted {wanted}"
        return True

    wait_for(f"the routes on {host.name}", look, timeout)


class Deletions:
    """Monitors the deletions of routes and nexthops on a host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._marks = 0
        self._monitor = host.start("monitor", "ip", "monitor", "route", "nexthop")
        self._wait_for_mark()

    def seen(self) -> list[str]:
        """All deletions until now, as `ip monitor` writes them."""
        self._wait_for_mark()
        lines = self._monitor.log.splitlines()
        return [
            line.strip()
            for line in lines
            if line.startswith("Deleted") and f"table {MARKER_TABLE}" not in line
        ]

    def end(self) -> None:
        """Stops monitoring, so that another monitor can run on the same host."""
        self._monitor.end(signal.SIGTERM)

    def _wait_for_mark(self) -> None:
        """Adds and deletes marker routes until one is reported: all before it has been, too."""

        def look() -> bool:
            self._marks += 1
            mark = f"192.0.2.{self._marks % 256}"
            route = f"blackhole {mark}/32 table {MARKER_TABLE}"
            before = self._monitor.log.count(f"Deleted blackhole {mark} table")
            self._host.ip(f"route add {route}", f"route del {route}")
            return self._monitor.log.count(f"Deleted blackhole {mark} table") > before

        wait_for("ip monitor to report a marker", look)


@contextmanager
def deletions(*hosts: Host) -> Iterator[Callable[[], list[list[str]]]]:
    """Monitors *hosts*; gives a function that returns the deletions so far on each."""
    monitors = [Deletions(host) for host in hosts]
    try:
        yield lambda: [monitor.seen() for monitor in monitors]
    finally:
        for monitor in monitors:
            monitor.end()


def _show(host: Host, *arguments: str) -> list[dict[str, Any]]:
    # `ip` fails for a table that has never been used.
    done = host.try_run("ip", "-j", *arguments)
    if "FIB table does not exist" in done.stderr:
        return []
    assert not done.returncode, f"{host.name}: ip {' '.join(arguments)}: {done.stderr}"
    shown: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return shown


def _route(entry: dict[str, Any], family: str, table: str) -> Route:
    destination = str(entry["dst"])
    if "/" not in destination and destination != "default":
        destination += "/32" if family == "-4" else "/128"
    return Route(
        destination,
        entry.get("dev"),
        entry.get("gateway"),
        str(entry.get("protocol")),
        int(entry.get("metric", 0)),
        entry.get("prefsrc"),
        str(entry.get("table", table)),
    )
