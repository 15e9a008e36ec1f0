"""Full load on all cores, and a tunnel too slow for what has to go through it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cuberouted.api.client import get
from cuberouted.api.report import Status
from tests.lab import routes
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.many import configuration, many_clients
from tests.lab.mesh import connect, start_daemons
from tests.lab.network import throttle
from tests.lab.server import Server
from tests.lab.waiting import wait_for

pytestmark = pytest.mark.alone

LOADED = float(os.environ.get("CUBEROUTED_LOADED", "6"))
"""Seconds of full load."""

QUICK = ("heartbeat_interval = 100ms", "hold_time = 300ms", "status_interval = 1s")
BUSY = "import time\nend = time.time() + {}\nwhile time.time() < end: pass"

CONTROL = "/run/cuberouted/control.sock"

HOLD = 3.0
SLOW = "1600kbit"
MANY = 20_000


@contextmanager
def busy(host: Host) -> Iterator[None]:
    """Load every core meanwhile; 60 s at most."""
    cores = os.cpu_count() or 1
    load = [host.start(f"busy{n}", sys.executable, "-c", BUSY.format(60)) for n in range(cores)]
    try:
        yield
    finally:
        for process in load:
            process.end()


def clients_of_peers(server: Server) -> int:
    """How many clients its peers advertise."""
    return sum(peer["clients"] for peer in server.daemon.ask("status")["peers"])


def downs(server: Server) -> list[str]:
    """The daemon's log lines about peers that were lost."""
    lines = server.daemon.process.log.splitlines()
    return [line for line in lines if " up -> " in line or "-> down" in line]


def silence(server: Server) -> float:
    """Seconds since the last message of the peer. Cheaper than starting a command."""
    status = get(server.host.path(CONTROL), "/v1/status", Status)
    [received] = [peer.last_heard for peer in status.peers]
    assert received is not None
    return received


def poll_silences(seconds: float, servers: list[Server]) -> list[float]:
    """How long the peers were silent, polled again and again."""
    silences: list[float] = []
    end = time.monotonic() + seconds

    def look() -> bool:
        silences.extend(silence(server) for server in servers)
        return time.monotonic() > end

    wait_for("the load", look, seconds + 5)
    return silences


def test_a_hold_time_of_300_ms_gives_no_false_alarm_under_full_load(lab: Lab) -> None:
    connect(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    with many_clients(lab) as many:
        many.call(a, "join", MANY)
        many.call(b, "join", 1000)
        start_daemons(lab.servers, lambda server: configuration(server, *QUICK))
        wait_for("all clients", lambda: clients_of_peers(b) == MANY + 1, 30.0)
        wait_for("all clients", lambda: clients_of_peers(a) == 1001, 30.0)
        before = [many.call(server, "listings") for server in lab.servers]
        with routes.deletions(a.host, b.host) as deleted:
            with busy(a.host):
                silences = poll_silences(LOADED, lab.servers)
            after = [many.call(server, "listings") for server in lab.servers]
            read = [new - old for new, old in zip(after, before, strict=True)]
            print(
                f"{LOADED:g} s under load: listings of {MANY} and 1000 clients read: {read};"
                f" longest silence of a peer {max(silences):.3f} s, of {len(silences)} looks"
            )
            assert min(read) > 0
            assert deleted() == [[], []]
        assert [downs(server) for server in lab.servers] == [[], []]


def test_a_snapshot_that_takes_longer_than_the_hold_time_arrives(lab: Lab) -> None:
    connect(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    with many_clients(lab) as many:
        many.call(a, "join", MANY)
        throttle(a.host, a.device(b), SLOW)
        start_daemons(lab.servers, configuration)
        begin = time.monotonic()
        wait_for("the snapshot", lambda: clients_of_peers(b) == MANY + 1, 60.0)
        took = time.monotonic() - begin
        sent = a.host.run("tc", "-s", "qdisc", "show", "dev", a.device(b))
        print(f"{MANY} clients at {SLOW}: {took:.1f} s\n{sent}")
        assert took > HOLD
        assert downs(b) == []
        wait_for("the routes", lambda: len(routes.ours(b.host)) > MANY)
