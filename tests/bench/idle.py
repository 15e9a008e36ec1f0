"""What cuberouted uses when nothing changes, and how soon it works again after a crash."""

from __future__ import annotations

import time

import attrs

from tests.bench.figures import Table, median, ms
from tests.bench.mesh import Mesh, Server
from tests.bench.route_monitor import ADDED, DELETED, RouteMonitors
from tests.bench.usage import Usage, private, resident


@attrs.frozen
class Size:
    """Measured with *few* and with *many* clients for *seconds*; and over *restarts* restarts."""

    few: int
    many: int
    seconds: float
    restarts: int


FULL = Size(few=1000, many=20_000, seconds=30.0, restarts=5)
SMALL = Size(few=30, many=500, seconds=0.2, restarts=1)


def measure(size: Size) -> list[Table]:
    """The tables."""
    return [_idle(size), _restart(size)]


def _idle(size: Size) -> Table:
    rows = []
    for clients in (size.few, size.many):
        with Mesh(3) as mesh, RouteMonitors(mesh.servers[1].host) as monitors:
            a, b, _ = mesh.servers
            mesh.start()
            a.call("appear", clients)
            monitors[0].wait("of all", lambda counts, n=clients: counts[ADDED] >= n)  # type: ignore[misc]
            time.sleep(min(5.0, size.seconds))  # until the effects of the change are over
            rows += [
                _row(f"{clients:,} clients, all here", a, size.seconds),
                _row(f"{clients:,} clients, all elsewhere", b, size.seconds),
            ]
    return Table(
        f"2 peers, {size.seconds:g} s without a change",
        ("", "CPU, of one core", "resident memory", "of that, private"),
        tuple(rows),
    )


def _row(what: str, server: Server, seconds: float) -> tuple[str, ...]:
    pid = server.daemon.process.pid
    before = Usage.of(pid)
    time.sleep(seconds)
    share = before.share_until(Usage.of(pid))
    return what, f"{share:.2%}", f"{resident(pid):.0f} MiB", f"{private(pid):.0f} MiB"


def _restart(size: Size) -> Table:
    """B's daemon is killed; a client connects to A before it is started again."""
    took, started = [], []
    with Mesh(2) as mesh, RouteMonitors(mesh.servers[1].host) as monitors:
        a, b = mesh.servers
        [monitor] = monitors
        mesh.start()
        a.call("appear", size.many)
        monitor.wait("of all clients", lambda counts: counts[ADDED] >= size.many)
        for _ in range(size.restarts):
            b.daemon.crash()
            [address] = a.call("connect", 1)
            time.sleep(1.0)
            monitor.reset()
            begin = time.time()
            b.daemon.start()
            b.daemon.ready()
            started.append(time.time() - begin)
            took.append(monitor.wait_route(ADDED, address) - begin)
            assert monitor.counts[DELETED] == 0, "a route that was right was deleted"
    return Table(
        f"Restart after a crash beside {size.many:,} routes, {size.restarts} times",
        ("from starting the process", "median", "worst"),
        (
            ("until it is ready, all routes adopted", ms(median(started)), ms(max(started))),
            ("until the first new route", ms(median(took)), ms(max(took))),
        ),
        ("No route was deleted.",),
    )
