"""A server, or the path to it, is lost: its routes are withdrawn after the hold time."""

from __future__ import annotations

import time

from tests.lab import ping, routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes
from tests.lab.network import cut, drop_packets, restore

CLIENTS = {"host1": 0, "host2": 1, "host3": 2}
HOLD = 3.0
SLACK = 1.5
"""Seconds that a busy machine may add."""


def test_a_server_that_loses_power_loses_its_routes_and_no_other_server_does(lab3: Lab) -> None:
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


def test_a_server_whose_link_was_cut_gets_its_routes_back(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    *_, c = lab3.servers
    cut(c.host)
    wait_routes(lab3, where, silent=[c])
    restore(c.host)
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


def test_packet_loss_of_ten_percent_deletes_no_route(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    for server in lab.servers:
        drop_packets(server.host, 10)
    start_daemons(lab.servers)
    wait_routes(lab, where)
    deletions = [routes.Deletions(server.host) for server in lab.servers]
    three = lab.client("host3")
    three.connect(lab.servers[0])
    where[three] = lab.servers[0]
    wait_routes(lab, where)
    assert [monitor.seen() for monitor in deletions] == [[], []]


def test_a_client_of_a_lost_server_is_reached_where_it_connects_next(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    _, two = where
    a, b = lab.servers
    b.host.kill_all()
    two.roam(a)
    where[two] = a
    wait_routes(lab, where, silent=[b])
    assert_all_reach_all(where)
