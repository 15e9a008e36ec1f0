"""The path between two of three servers is lost, while the third reaches both."""

from __future__ import annotations

import time

from tests.lab import ping, routes
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes, wanted
from tests.lab.network import block, unblock
from tests.lab.server import Server
from tests.lab.waiting import wait_for

CLIENTS = {"host1": 0, "host2": 1, "host3": 2}
HOLD = 3.0
SLACK = 1.5
"""Seconds that a busy machine may add."""


def part(one: Server, other: Server) -> None:
    """Block the path between two servers."""
    block(one.host, other.internet)
    block(other.host, one.internet)


def heal(one: Server, other: Server) -> None:
    """Restore it."""
    unblock(one.host)
    unblock(other.host)


def test_both_sides_of_a_partition_withdraw_and_are_back_when_it_heals(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    one, two, three = where
    a, b, c = lab3.servers
    at_a = routes.Deletions(a.host)
    parted = time.monotonic()
    part(b, c)
    routes.wait_towards(b.host, wanted(b, where, silent=[c]))
    routes.wait_towards(c.host, wanted(c, where, silent=[b]))
    took = time.monotonic() - parted
    print(f"both sides withdrew after {took:.1f} s")
    assert took < HOLD + SLACK
    assert ping.reaches(one.host, two.data)
    assert ping.reaches(one.host, three.data)
    heal(b, c)
    healed = time.monotonic()
    wait_routes(lab3, where)
    print(f"all routes back {time.monotonic() - healed:.1f} s after the path was restored")
    assert_all_reach_all(where)
    assert at_a.seen() == []


def test_clients_that_move_during_a_partition_are_reached_when_it_heals(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    one, _, three = where
    a, b, c = lab3.servers
    part(b, c)
    three.roam(b)  # C still lists it, and does not receive the update
    one.roam(c)
    where |= {three: b, one: c}
    routes.wait_towards(a.host, wanted(a, where))
    heal(b, c)
    wait_routes(lab3, where)
    assert_all_reach_all(where)
    kill = f"MANAGEMENT: CMD 'kill \"{three.name}\"'"
    wait_for("C to drop the dead session", lambda: kill in c.openvpn.process.log)
