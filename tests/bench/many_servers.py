"""Many servers in a full mesh: how soon all have all routes, and what each uses when idle."""

from __future__ import annotations

import time
from pathlib import Path

import attrs

from tests.bench.figures import Table, median, percentile
from tests.bench.mesh import Mesh, Server
from tests.bench.route_monitor import ADDED, RouteMonitors
from tests.bench.usage import Usage, private, resident
from tests.lab.waiting import wait_for


@attrs.frozen
class Size:
    """Meshes of each of these sizes, with *clients* on each server; idle for *seconds*."""

    servers: tuple[int, ...]
    clients: int
    seconds: float


FULL = Size(servers=(2, 10, 50), clients=100, seconds=20.0)
SMALL = Size(servers=(2, 3), clients=5, seconds=0.2)

HEAD = (
    "servers",
    "routes on each",
    "all started -> all routes",
    "of that, after the last is ready",
    "CPU until then, each",
    "idle: CPU, each",
    "packets/s, each",
    "bytes/s, each",
    "memory, each",
    "private",
)


def measure(size: Size) -> list[Table]:
    """The table."""
    rows = tuple(_row(count, size) for count in size.servers)
    return [Table(f"Full mesh, {size.clients} clients on each server", HEAD, rows)]


def _row(count: int, size: Size) -> tuple[str, ...]:
    routes = (count - 1) * (size.clients + 1)
    with Mesh(count) as mesh, RouteMonitors(*(server.host for server in mesh.servers)) as monitors:
        for server in mesh.servers:
            server.call("join", size.clients)
        begin = time.time()
        mesh.start()
        ready = time.time()
        wait_for(
            "all to have all routes",
            lambda: all(monitor.counts[ADDED] >= routes for monitor in monitors),
            timeout=120.0,
        )
        converged = max(monitor.last_at for monitor in monitors)
        cold = [Usage.of(server.daemon.process.pid).cpu for server in mesh.servers]
        time.sleep(min(5.0, size.seconds))  # until the effects of the change are over
        idle = _idle(mesh.servers, size.seconds)
        pids = [server.daemon.process.pid for server in mesh.servers]
        return (
            f"{count}",
            f"{routes:,}",
            f"{converged - begin:.2f} s",
            f"{max(0.0, converged - ready):.2f} s",
            f"{median(cold):.2f} s",
            *idle,
            f"{median([resident(pid) for pid in pids]):.0f} MiB",
            f"{median([private(pid) for pid in pids]):.0f} MiB",
        )


def _idle(servers: list[Server], seconds: float) -> tuple[str, str, str]:
    pids = [server.daemon.process.pid for server in servers]
    before = [(Usage.of(pid), _sent(pid)) for pid in pids]
    time.sleep(seconds)
    after = [(Usage.of(pid), _sent(pid)) for pid in pids]
    pairs = list(zip(before, after, strict=True))
    shares = [one.share_until(other) for (one, _), (other, _) in pairs]
    packets = [(other[0] - one[0]) / seconds for (_, one), (_, other) in pairs]
    sent = [(other[1] - one[1]) / seconds for (_, one), (_, other) in pairs]
    return (
        f"{median(shares):.2%} (p90 {percentile(shares, 90):.2%})",
        f"{median(packets):,.0f}",
        f"{median(sent):,.0f}",
    )


def _sent(pid: int) -> tuple[int, int]:
    """Packets and bytes that eth0 has sent, in the namespace of a process."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()
    [fields] = [line.split() for line in lines if line.strip().startswith("eth0:")]
    return int(fields[10]), int(fields[9])
