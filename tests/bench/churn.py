"""Clients connect and leave all the time on a server with 20,000: the lag of B's kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import attrs

from cuberouted.model import Prefix
from tests.bench.figures import SPREAD, Table, distribution
from tests.bench.mesh import Mesh
from tests.bench.route_monitor import ADDED, DELETED, RouteMonitor, RouteMonitors
from tests.bench.usage import Usage


@attrs.frozen
class Size:
    """*rate* of the *clients* are replaced a second, for *seconds* seconds."""

    clients: int
    rate: int
    seconds: float


FULL = Size(clients=20_000, rate=200, seconds=30.0)
SMALL = Size(clients=500, rate=50, seconds=1.0)

TYPES = {"join": ADDED, "leave": DELETED}


def measure(size: Size) -> list[Table]:
    """The tables."""
    with Mesh(2) as mesh:
        a, b = mesh.servers
        with RouteMonitors(b.host) as monitors:
            [monitor] = monitors
            mesh.start()
            a.call("appear", size.clients)
            monitor.wait(
                "of all clients", lambda counts: counts[ADDED] >= size.clients, timeout=60.0
            )
            monitor.reset()
            pids = a.daemon.process.pid, b.daemon.process.pid
            before = [Usage.of(pid) for pid in pids]
            churned = a.call("churn", size.rate, size.seconds)
            after = [Usage.of(pid) for pid in pids]
            events = churned["events"]
            leaves = sum(what == "leave" for _, what, _ in events)
            monitor.wait("of all departures", lambda counts: counts[DELETED] >= leaves)
            lags = _lags(events, monitor)
    used = [one.share_until(other) for one, other in zip(before, after, strict=True)]
    return [_lag_table(size, lags), _cost_table(churned["listing"], used)]


def _lags(
    events: Iterable[tuple[float, str, str]], monitor: RouteMonitor
) -> dict[str, list[float]]:
    """For each event, how long it took until the kernel's notification."""
    times: dict[tuple[int, Prefix], list[float]] = defaultdict(list)
    for one in monitor.notifications():
        times[one.type, one.prefix].append(one.at)
    lags = defaultdict(list)
    for at, what, address in events:
        lags[what].append(times[TYPES[what], Prefix.parse(address)].pop(0) - at)
    return lags


def _lag_table(size: Size, lags: dict[str, list[float]]) -> Table:
    rows = {
        "connects (announced by OpenVPN)": lags["join"],
        "disconnects (logged by OpenVPN)": lags["leave"],
        "both": lags["join"] + lags["leave"],
    }
    return Table(
        f"{size.rate} connects and {size.rate} disconnects a second for {size.seconds:g} s,"
        f" beside {size.clients:,} clients",
        ("lag", *SPREAD),
        tuple((what, *distribution(lag)) for what, lag in rows.items()),
    )


def _cost_table(listing: float, used: Iterable[float]) -> Table:
    a, b = used
    return Table(
        "Cost meanwhile",
        ("", "share"),
        (
            ("OpenVPN's time that goes into listings", f"{listing:.1%}"),
            ("cuberouted on A, of one core", f"{a:.0%}"),
            ("cuberouted on B, of one core", f"{b:.0%}"),
        ),
    )
