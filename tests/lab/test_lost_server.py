"""A server, or the way to it, is lost: its routes go after the hold time, and come back."""

from __future__ import annotations

import time

from tests.lab import ping, routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes
from tests.lab.network import cut, lose, mend

CLIENTS = {"host1": 0, "host2": 1, "host3": 2}
HOLD = 3.0
SLACK = 1.5
"""Seconds that a busy machine may add."""


def test_a_server_that_loses_power_takes_its_routes_along_and_no_other(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    one, two, _ = where
    c = lab3.servers[2]
    lost = time.monotonic()
    cut(c.host)
    c.host.kill_all()
    wait_routes(lab3, where, silent=[c])
    took = time.monotonic() - lost
    print(f"withdrawn after {took:.1f} s")
    assert took < HOLD + SLACK
    assert ping.reaches(one.host, two.data)


def test_a_server_whose_link_is_cut_is_back_when_it_is_mended(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    *_, c = lab3.servers
    cut(c.host)
    wait_routes(lab3, where, silent=[c])
    mend(c.host)
    wait_routes(lab3, where)
    assert_all_reach_all(where)


def test_the_hold_time_can_be_well_below_a_second(lab: Lab) -> None:
    quick = ("heartbeat_interval = 100ms", "hold_time = 300ms")
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers, lambda server: mesh(server, *quick))
    wait_routes(lab, where)
    b = lab.servers[1]
    lost = time.monotonic()
    cut(b.host)
    wait_routes(lab, where, silent=[b])
    assert time.monotonic() - lost < 1.0


def test_a_network_that_loses_every_tenth_packet_costs_no_route(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    for server in lab.servers:
        lose(server.host, 10)
    start_daemons(lab.servers)
    wait_routes(lab, where)
    deletions = [routes.Deletions(server.host) for server in lab.servers]
    three = lab.client("host3")
    three.connect(lab.servers[0])
    where[three] = lab.servers[0]
    wait_routes(lab, where)
    assert [listener.seen() for listener in deletions] == [[], []]


def test_a_client_of_a_lost_server_is_reached_where_it_connects_next(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    _, two = where
    a, b = lab.servers
    b.host.kill_all()
    two.roam(a)
    where[two] = a
    wait_routes(lab, where, silent=[b])
    assert_all_reach_all(where)
