"""A daemon or an OpenVPN is stopped (SIGSTOP, as by a debugger or a suspended machine)."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab import ping, routes
from tests.lab.client import Client
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes
from tests.lab.process import Process
from tests.lab.server import Server
from tests.lab.waiting import wait_for

HOLD = 3.0
SLACK = 1.5
"""Seconds that a busy machine may add."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two servers for all of these tests, with the clients of `where`."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def where(lab: Lab) -> dict[Client, Server]:
    """Where the clients are; none of them moves."""
    return share(lab, {"host1": 0, "host2": 1})


@contextmanager
def stopped(process: Process) -> Iterator[None]:
    """The process is stopped meanwhile."""
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


def silent_for(server: Server, seconds: float) -> bool:
    """Whether *server* has received nothing from any peer for so long."""
    received = [peer["last_heard"] for peer in server.daemon.ask("status")["peers"]]
    return all(at is not None and at > seconds for at in received)


def test_a_daemon_stopped_for_less_than_the_hold_time_costs_no_route(
    lab: Lab, where: dict[Client, Server]
) -> None:
    a, b = lab.servers
    with routes.deletions(a.host, b.host) as deleted:
        with stopped(a.daemon.process):
            wait_for("B to miss A", lambda: silent_for(b, 2.0))
        wait_for("B to receive from A", lambda: not silent_for(b, 1.5))
        wait_routes(lab, where)
        assert deleted() == [[], []]


def test_a_daemon_stopped_for_longer_keeps_its_peers_and_gets_its_routes_back(
    lab: Lab, where: dict[Client, Server]
) -> None:
    one, two = where
    a, b = lab.servers
    with routes.deletions(a.host) as deleted:
        begin = time.monotonic()
        with stopped(a.daemon.process):
            routes.wait_towards(b.host, {f"{a.data}/32": b.device(a)})
            took = time.monotonic() - begin
            assert not ping.reaches(two.host, one.data)
            wait_for("A's own hold time", lambda: time.monotonic() - begin > HOLD + 1.5)
        begin = time.monotonic()
        wait_routes(lab, where)
        print(f"withdrawn after {took:.1f} s, back {time.monotonic() - begin:.2f} s after SIGCONT")
        assert took < HOLD + SLACK
        assert_all_reach_all(where)
        assert deleted() == [[]]  # it did not take its own stop for B's silence


def test_a_stopped_openvpn_withdraws_nobody_and_shows_in_status(
    lab: Lab, where: dict[Client, Server]
) -> None:
    a, b = lab.servers
    with routes.deletions(a.host, b.host) as deleted:
        with stopped(a.openvpn.process):
            wait_for("A to notice", lambda: a.daemon.command("status").returncode == 1, 20.0)
            [row] = a.daemon.ask("status")["openvpn"]
            print(f"status: {row['state']}: {row['detail']}")
        wait_for("A to be well", lambda: a.daemon.command("status").returncode == 0)
        assert deleted() == [[], []]
    wait_routes(lab, where)
    assert_all_reach_all(where)
