"""20,000 clients appear on A at once, leave at once, are lost with A: until B's kernel follows."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from datetime import datetime

import attrs

from tests.bench.figures import Table, median, ms
from tests.bench.mesh import Mesh, Server
from tests.bench.route_monitor import ADDED, NEXTHOP_DELETED, RouteMonitor, RouteMonitors
from tests.bench.traced import Mark, first, marks
from tests.lab.host import Host
from tests.lab.network import cut, restore


@attrs.frozen
class Size:
    """*clients* clients, *rounds* times."""

    clients: int
    rounds: int


FULL = Size(clients=20_000, rounds=5)
SMALL = Size(clients=600, rounds=1)

DOWN = re.compile(r"^(\S+ \S+) \w+ peer server1: up -> down", re.MULTILINE)
UP = "peer server1: syncing -> up"
APPLIED = "B's kernel adds the routes (all batches)"


@attrs.define
class Rounds:
    """Seconds of each round, by what was measured. ``stages``: the parts of ``appear``."""

    appear: list[float] = attrs.field(factory=list)
    leave: list[float] = attrs.field(factory=list)
    loss: list[float] = attrs.field(factory=list)
    bare: list[float] = attrs.field(factory=list)
    batch: list[float] = attrs.field(factory=list)
    stages: list[dict[str, float]] = attrs.field(factory=list)


def measure(size: Size) -> list[Table]:
    """The tables."""
    rounds = Rounds()
    with Mesh(2, traced=True) as mesh:
        a, b = mesh.servers
        with RouteMonitors(b.host) as monitors:
            [monitor] = monitors
            mesh.start()
            b.daemon.process.wait_log(UP)
            for _ in range(size.rounds):
                _appear_and_leave(a, b, monitor, size.clients, rounds)
                _lose(a, b, monitor, size.clients, rounds)
                _without_cuberouted(size.clients, rounds)
    return [_times(rounds, size), _stages(rounds), _installing(rounds, size)]


def _appear_and_leave(
    a: Server, b: Server, monitor: RouteMonitor, clients: int, rounds: Rounds
) -> None:
    _rest(a)
    begin = _appear(a, monitor, clients)
    rounds.appear.append(monitor.last_at - begin)
    rounds.stages.append(_stages_since(begin, marks(a.host), marks(b.host)))
    _rest(a)
    monitor.reset()
    begin = a.call("leave")
    monitor.wait("the loss of all", lambda counts: counts[NEXTHOP_DELETED] >= 1, timeout=60.0)
    rounds.leave.append(max(monitor.last_at, monitor.deleted_nexthop_at) - begin)


def _appear(a: Server, monitor: RouteMonitor, clients: int) -> float:
    monitor.reset()
    begin = float(a.call("appear", clients))
    monitor.wait(f"of {clients} routes", lambda counts: counts[ADDED] >= clients, timeout=60.0)
    return begin


def _rest(server: Server) -> None:
    """Wait until the next listing may be requested at once: they take a tenth of the time."""
    found = marks(server.host)
    read = max((m.at for m in found if m.what == "update_local"), default=0.0)
    queries = [m.at for m in found if m.what == "query" and m.size and m.at <= read]
    queried = max(queries, default=read)
    time.sleep(max(0.0, read + 10 * (read - queried) + 1.0 - time.time()))


def _lose(a: Server, b: Server, monitor: RouteMonitor, clients: int, rounds: Rounds) -> None:
    """A dies with all its clients; measured from B's log line that A is down."""
    _appear(a, monitor, clients)
    downs = len(DOWN.findall(b.daemon.process.log))
    monitor.reset()
    a.daemon.process.send(signal.SIGKILL)
    cut(a.host)
    monitor.wait("the loss of A", lambda counts: counts[NEXTHOP_DELETED] >= 1)
    [*_, stamp] = DOWN.findall(b.daemon.process.log)
    assert len(DOWN.findall(b.daemon.process.log)) == downs + 1
    rounds.loss.append(monitor.deleted_nexthop_at - _seconds(stamp))
    [left] = b.host.run("ip", "route", "show", "proto", "201").splitlines()
    assert left.startswith("10.64.0.1 "), left  # its own address, which the configuration gives
    a.daemon.process.wait()
    a.call("leave")
    restore(a.host)
    ups = b.daemon.process.log.count(UP)
    a.daemon.start()
    b.daemon.process.wait_log(UP, times=ups + 1)


def _seconds(stamp: str) -> float:
    """The log's time; it is truncated to milliseconds, so what is measured from it is too long."""
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp()


def _without_cuberouted(clients: int, rounds: Rounds) -> None:
    host = Host("bare")
    try:
        host.wait_ready()
        host.ip(
            "link add eth0 type veth peer name wire0",
            "link set wire0 up",
            "address add 192.0.2.2/24 dev eth0",
            "link set eth0 up",
        )
        command = (sys.executable, "-m", "tests.bench.bare", "eth0", "192.0.2.1", str(clients))
        with RouteMonitors(host):  # notifications cost the kernel time, as they do on B
            process = host.start("bare", *command)
            assert process.wait(60.0) == 0, process.log
        took = json.loads(process.log)
    finally:
        host.close()
    rounds.bare.append(took["bare"])
    rounds.batch.append(took["batch"])


def _stages_since(begin: float, on_a: list[Mark], on_b: list[Mark]) -> dict[str, float]:
    updates = (m for m in on_a if m.what == "update_local" and m.at > begin)
    update = max(updates, key=lambda m: m.size)
    published = first(on_a, "publish", update.at)
    at_b = [m for m in on_b if m.at >= published]
    return {
        "A lists, reads and compares": update.at - begin,
        "A decides and publishes the first 1,000": published - update.at,
        "A decides and publishes all (B works meanwhile)": update.took,
        "B decides (RIB)": _total(at_b, "rib"),
        APPLIED: _total(at_b, "apply"),
        "B in all, first message to last route": max(m.at + m.took for m in at_b) - published,
    }


def _total(found: list[Mark], what: str) -> float:
    return sum(mark.took for mark in found if mark.what == what)


def _times(rounds: Rounds, size: Size) -> Table:
    measured = {
        "appear on A -> last route on B": rounds.appear,
        "leave A -> last route on B gone": rounds.leave,
        "A is down: B's decision -> last route gone": rounds.loss,
    }
    return Table(
        f"{size.clients:,} clients, {size.rounds} times",
        ("", "median", "best", "worst"),
        tuple(
            (what, ms(median(took)), ms(min(took)), ms(max(took)))
            for what, took in measured.items()
        ),
    )


def _stages(rounds: Rounds) -> Table:
    return Table(
        "Where the time goes when they appear",
        ("", "median"),
        tuple((s, ms(median([r[s] for r in rounds.stages]))) for s in rounds.stages[0]),
    )


def _installing(rounds: Rounds, size: Size) -> Table:
    ways = {
        "a bare loop: packed by `struct`, 256 a send": rounds.bare,
        "cuberouted": [stages[APPLIED] for stages in rounds.stages],
        "`ip -batch`": rounds.batch,
    }
    bare = median(rounds.bare)
    return Table(
        "Installing alone",
        ("", "median", "routes a second", "times the bare loop"),
        tuple(
            (
                way,
                ms(median(took)),
                f"{size.clients / median(took):,.0f}",
                f"{median(took) / bare:.1f}",
            )
            for way, took in ways.items()
        ),
    )
