"""Another program deletes our routes, nexthops and rules: they are back within a second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab import routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.waiting import wait_for

pytestmark = pytest.mark.alone

TABLE = "100"
SCAN_INTERVAL = 1.1
"""Seconds between deletions: those that follow each other faster cause one scan a second only."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two servers for all of these tests, with the clients of `where`."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def where(lab: Lab) -> dict[Client, Server]:
    """Where the clients are; none of them moves. Routes are in table 100, with rules."""
    where = connect(lab, {"host1": 0, "host2": 1, "host3": 1})
    start_daemons(lab.servers, lambda server: mesh(server, f"route_table = {TABLE}"))
    wait_routes(lab, where, table=TABLE)
    return where


def delete_routes(host: Host) -> None:
    # not `flush`: iproute2 6.1 fails on routes with nexthop objects
    host.ip(*(f"route del {to} table {TABLE}" for to in routes.towards(host, TABLE)))


def delete_nexthops(host: Host) -> None:
    host.ip(*(f"nexthop del id {entry['id']}" for entry in routes.nexthops(host)))


def delete_rules(host: Host) -> None:
    for family in ("-4", "-6"):
        host.run("ip", family, "rule", "del", "priority", str(routes.PRIORITY))


def delete_all(host: Host) -> None:
    delete_rules(host)
    delete_routes(host)
    delete_nexthops(host)


@pytest.mark.parametrize("delete", [delete_routes, delete_nexthops, delete_rules, delete_all])
def test_what_is_deleted_by_hand_is_back_within_a_second(
    lab: Lab, where: dict[Client, Server], delete: Callable[[Host], None]
) -> None:
    a, _ = lab.servers
    rules = json.dumps(routes.rules(a.host))
    before = time.monotonic()
    wait_for("the scan interval", lambda: time.monotonic() > before + SCAN_INTERVAL)
    delete(a.host)
    begin = time.monotonic()
    wait_routes(lab, where, table=TABLE)
    wait_for("the rules", lambda: json.dumps(routes.rules(a.host)) == rules)
    took = time.monotonic() - begin
    print(f"{delete.__name__}: back after {took:.2f} s at most")
    assert took < 1.0
    assert len(routes.nexthops(a.host)) == 4  # for clients and servers, IPv4 and IPv6
    assert_all_reach_all(where)
