"""Restarts without a gap, measured against a control run without one; and nodes that stay away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab import ping, routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.waiting import wait_for

pytestmark = pytest.mark.alone

HOLD, RESTART = 3.0, 4.0
SLACK = 1.5
"""Seconds that a busy machine may add."""


SECONDS = 3.0
"""How long each run takes at least."""

INTERVAL = 0.005
"""Seconds between pings. With 10 ms ping, which is late each time, makes some 60 a second."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two servers for all of these tests, with the clients of `where`."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def where(lab: Lab) -> dict[Client, Server]:
    """Where the clients are; none of them moves."""
    where = connect(lab, {"host1": 0, "host2": 1})
    keep = ("on_exit = keep", f"restart_time = {RESTART:g}s")
    start_daemons(lab.servers, lambda server: mesh(server, *keep))
    wait_routes(lab, where)
    return where


def peers_are_up(lab: Lab) -> bool:
    """Whether every server has its peers up."""
    return all(
        peer["state"] == "up" for s in lab.servers for peer in s.daemon.ask("status")["peers"]
    )


def nothing(lab: Lab) -> None:
    """The control run."""


def crash(lab: Lab) -> None:
    """kill -9, and start again."""
    a, _ = lab.servers
    a.daemon.crash()
    a.daemon.start()
    a.daemon.ready()


def crash_all(lab: Lab) -> None:
    """All of them at once, as after a fault in a version of cuberouted."""
    for server in lab.servers:
        server.daemon.crash()
    for server in lab.servers:
        server.daemon.start()
    for server in lab.servers:
        server.daemon.ready()


def planned(lab: Lab) -> None:
    """As an upgrade does, with ``on_exit = keep``."""
    a, _ = lab.servers
    assert a.daemon.stop() == 0
    a.daemon.start()
    a.daemon.ready()


@pytest.mark.parametrize("restart", [nothing, crash, crash_all, planned])
def test_a_restart_deletes_no_right_route_and_loses_no_more_pings_than_a_control_run(
    lab: Lab, where: dict[Client, Server], restart: Callable[[Lab], None]
) -> None:
    one, two = where
    hosts = [server.host for server in lab.servers]
    with routes.deletions(*hosts) as deleted:
        stream = ping.Stream(one.host, two.data, INTERVAL)
        began = time.monotonic()
        for _ in range(2):
            restart(lab)
            wait_for("all peers to be up", lambda: peers_are_up(lab))
        wait_for("as long for all", lambda: time.monotonic() > began + SECONDS)
        stream.end()
        wait_routes(lab, where)
        print(f"{restart.__name__}: {len(stream.replies())} pings answered, {stream.lost()} lost")
        assert stream.lost() == 0
        assert deleted() == [[], []]


def test_a_daemon_that_dies_is_noticed_at_once_but_its_routes_stay_for_the_hold_time(
    lab: Lab, where: dict[Client, Server]
) -> None:
    one, two = where
    a, b = lab.servers
    died = time.monotonic()
    a.daemon.crash()
    wait_for("B to notice", lambda: b.daemon.ask("status")["peers"][0]["detail"])
    noticed = time.monotonic() - died
    detail = b.daemon.ask("status")["peers"][0]["detail"]
    assert ping.reaches(two.host, one.data)  # its OpenVPN still forwards
    routes.wait_towards(b.host, {f"{a.data}/32": b.device(a)})
    withdrawn = time.monotonic() - died
    print(f"noticed after {noticed:.2f} s ({detail}), withdrawn after {withdrawn:.1f} s")
    assert noticed < 1.0
    # the hold time began with the last heartbeat, up to a second before
    assert HOLD - 1.5 < withdrawn < HOLD + SLACK
    a.daemon.start()
    wait_routes(lab, where)


def test_a_node_that_does_not_come_back_from_a_planned_restart_is_withdrawn_in_the_end(
    lab: Lab, where: dict[Client, Server]
) -> None:
    one, two = where
    a, b = lab.servers
    left = time.monotonic()
    assert a.daemon.stop() == 0
    assert b.daemon.ask("status")["peers"][0]["state"] == "restarting"
    assert ping.reaches(two.host, one.data)
    routes.wait_towards(b.host, {f"{a.data}/32": b.device(a)})
    withdrawn = time.monotonic() - left
    print(f"withdrawn after {withdrawn:.1f} s, restart_time is {RESTART:g} s")
    assert RESTART - 0.5 < withdrawn < RESTART + SLACK
    a.daemon.start()
    wait_routes(lab, where)
    assert_all_reach_all(where)
