"""What events cost: one client's convergence, and heartbeats and memory while many are read."""

from __future__ import annotations

import contextlib
import itertools
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Mapping

import attrs

from tests.bench.event_storm import STORM
from tests.bench.figures import SPREAD, Table, distribution, median, ms
from tests.bench.mesh import Mesh, Server
from tests.bench.one_client import CONNECT, LEAVE, rounds
from tests.bench.priority import servers_first
from tests.bench.sides import with_clients
from tests.bench.usage import Usage, resident
from tests.lab.daemon import COMMAND, CONFIG
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons
from tests.lab.process import Process
from tests.lab.waiting import wait_for

WITHOUT = (sys.executable, "-m", "tests.bench.without_events", CONFIG)
WITH_STORM = (sys.executable, "-m", "tests.bench.event_storm", CONFIG)
CONTROL = "/run/cuberouted/control.sock"


@attrs.frozen
class Size:
    """*clients* connect and leave *rounds* times; *readers* read *rate* events a second.

    The storm lasts *seconds*, and so does each quiet time around it.
    """

    clients: int
    rounds: int
    readers: int
    rate: int
    seconds: float


FULL = Size(clients=10, rounds=10, readers=10, rate=10_000, seconds=30.0)
SMALL = Size(clients=1, rounds=1, readers=2, rate=500, seconds=2.0)


def measure(size: Size) -> list[Table]:
    """The tables."""
    sides = {"with events": (*COMMAND, CONFIG), "without": WITHOUT}
    return [convergence(size, sides), storm(size)]


def convergence(size: Size, sides: Mapping[str, tuple[str, ...]]) -> Table:
    """One client, on labs that run these daemons, by name; the last is what others are held to."""
    with contextlib.ExitStack() as stack:
        with servers_first():
            labs = {name: stack.enter_context(Lab()) for name in sides}
            for name, lab in labs.items():
                for server in lab.servers:
                    server.daemon.argv = sides[name]
                start_daemons(lab.servers)
        times = rounds(with_clients(labs, size.clients, stack), size.rounds)
    rows = []
    for what in (CONNECT, LEAVE):
        lags = {name: [end - begin for begin, end in t[what]] for name, t in times.items()}
        baseline = lags[[*sides][-1]]
        rows += [
            (f"{what}: {name}", *distribution(lag), f"{_more(lag, baseline):+.1%}")
            for name, lag in lags.items()
        ]
    count = size.clients * size.rounds
    return Table(
        f"One client, {count} times on each side, in turns",
        ("", *SPREAD, "median of the differences"),
        tuple(rows),
    )


def _more(lag: list[float], baseline: list[float]) -> float:
    """How much longer it takes: of the pairs measured one after the other, the median."""
    return statistics.median(
        (one - other) / median(baseline) for one, other in zip(lag, baseline, strict=True)
    )


@attrs.frozen
class _Phase:
    """A time with or without a storm: the heartbeats that came, and what the daemon used."""

    gaps: list[float]
    memory: float
    cpu: float


def storm(size: Size) -> Table:
    with Mesh(3) as mesh, contextlib.ExitStack() as stack:
        a, b, c = mesh.servers  # c is only a subscriber
        a.daemon.argv = WITH_STORM
        for server in (a, b):
            server.daemon.start()
            server.daemon.ready()
        argv = sys.executable, "-m", "tests.bench.heartbeats", "192.0.2.1"
        heartbeats = c.host.start("heartbeats", *argv)
        heartbeats.wait_for("to receive one", lambda: bool(_arrivals(heartbeats)))
        quiet = _measure(a, heartbeats, size.seconds)
        readers = stack.enter_context(_readers(a, size.readers))
        stopped = readers[0]
        a.host.write(STORM, str(size.rate))
        for reader in readers:
            wait_for("its first event", lambda r=reader: "ready" in r.log)  # type: ignore[misc]
        stopped.send(signal.SIGSTOP)
        stormy = _measure(a, heartbeats, size.seconds)
        a.host.path(STORM).unlink()
        stopped.send(signal.SIGCONT)
        after = _measure(a, heartbeats, size.seconds)
        results = [_result(reader) for reader in readers]
        state = b.daemon.ask("status")["peers"][0]["state"]
    phases = {"before": quiet, "with the storm": stormy, "after it": after}
    rows = tuple(
        (
            what,
            str(len(phase.gaps)),
            *(ms(value) for value in (median(phase.gaps), max(phase.gaps))),
            f"{phase.cpu:.0%}",
            f"{phase.memory:.0f} MiB",
        )
        for what, phase in phases.items()
    )
    published = max(last for _, _, last in results)
    read = [received + lost for received, lost, _ in results]
    lost = [lost for _, lost, _ in results[1:]]
    remark = (
        f"{published:,} events were published. The {len(lost)} readers that run received or"
        f" were told to have lost {min(read[1:]):,} to {max(read):,} each; they lost at most"
        f" {max(lost, default=0):,}. The stopped one, once it went on, received"
        f" {results[0][0]:,} and was told that {results[0][1]:,} were lost."
        f" The peer's state at the end: {state}."
    )
    head = "", "heartbeats", "median gap", "longest gap", "CPU", "largest memory"
    title = f"{size.rate:,} events a second to {size.readers} readers, one of them stopped"
    return Table(title, head, rows, (remark,))


def _arrivals(heartbeats: Process) -> list[float]:
    return [float(line) for line in heartbeats.log.splitlines()]


def _measure(server: Server, heartbeats: Process, seconds: float) -> _Phase:
    pid = server.daemon.process.pid
    before, memory = Usage.of(pid), 0.0
    begin, end = time.time(), time.time() + seconds
    while time.time() < end:
        memory = max(memory, resident(pid))
        time.sleep(0.1)
    cpu = before.share_until(Usage.of(pid))
    arrivals = [at for at in _arrivals(heartbeats) if at >= begin]
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    return _Phase(gaps, memory, cpu)


@contextlib.contextmanager
def _readers(server: Server, count: int) -> Iterator[list[Process]]:
    argv = sys.executable, "-m", "tests.bench.event_reader", CONTROL
    yield [server.host.start(f"reader{number}", *argv) for number in range(count)]


def _result(reader: Process) -> tuple[int, int, int]:
    """Received, lost, and the last number."""
    reader.end(signal.SIGTERM)
    received, lost, last = reader.log.split("result ", 1)[1].split()
    return int(received), int(lost), int(last)
