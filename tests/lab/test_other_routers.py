"""BIRD and FRR on the host of a server: neither harms the other."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest

from tests.lab import ping, routes
from tests.lab.host import PROJECT, Host
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes
from tests.lab.software import STATIC4, STATIC6, Bird, Frr, Router, own_routes
from tests.lab.waiting import wait_for

FIRST_ID = 250_565_700
LEFT_BEHIND = range(FIRST_ID, FIRST_ID + 100)
"""Ids of nexthop objects that FRR may have left behind."""

SCANS = 220
"""Pings, at 100 a second, in which BIRD has scanned the kernel twice."""

NO_NEXTHOPS = "no zebra nexthop kernel enable"


def taken(host: Host) -> set[int]:
    """The ids in our range that are not ours."""
    shown = re.findall(r"^id (\d+) (.*)$", host.run("ip", "nexthop"), re.MULTILINE)
    ours = f"proto {routes.PROTOCOL}"
    return {int(id_) for id_, rest in shown if int(id_) >= FIRST_ID and ours not in rest}


ROUTERS: dict[str, Callable[[Host], Router]] = {
    "bird": Bird,
    "frr": Frr,
    "frr without nexthop objects": lambda host: Frr(host, [NO_NEXTHOPS]),
}


@pytest.mark.parametrize("software", ROUTERS)
def test_neither_harms_the_other(lab: Lab, software: str) -> None:
    a, b = lab.servers
    where = share(lab, {"host1": 0, "host2": 1, "host3": 1})
    one, two, three = where
    router = ROUTERS[software](a.host)

    def assert_right() -> None:
        wait_routes(lab, where)
        assert own_routes(a.host) == {STATIC4, STATIC6}

    with routes.deletions(a.host) as deleted:
        stream = ping.Stream(one.host, three.data)
        router.start()
        for number in (signal.SIGTERM, signal.SIGKILL):
            router.end(number)
            router.start()
        begin = len(stream.replies())
        wait_for("scans of the kernel", lambda: len(stream.replies()) > begin + SCANS)
        # all that it has deleted is its own
        ours = [line for line in deleted()[0] if f"proto {routes.PROTOCOL}" in line]
        stream.end()
        print(
            f"{software}: {len(stream.replies())} pings during three starts, {stream.lost()} lost"
        )
        assert (ours, stream.lost()) == ([], 0)

    for client, server in ((two, a), (three, a), (three, b)):
        client.roam(server)
        where[client] = server
        assert_right()
    a.openvpn.process.wait_log(f'kill "{three.name}"')

    b.daemon.crash()
    wait_routes(lab, where, silent=[b])
    b.daemon.start()
    assert_right()

    a.daemon.stop()
    assert routes.ours(a.host) == set()
    assert own_routes(a.host) == {STATIC4, STATIC6}
    ids = taken(a.host)
    print(f"{software}: nexthop ids that it has taken from us: {sorted(ids)}")
    assert bool(ids) is (software == "frr")
    if ids:
        left = [
            f"nexthop replace id {i} dev eth0 protocol zebra" for i in LEFT_BEHIND if i not in ids
        ]
        a.host.ip(*left)
    a.daemon.start()
    a.daemon.ready()
    assert_right()
    assert_all_reach_all(where)
    router.end(signal.SIGTERM)
    assert_all_reach_all(where)
    assert "WARNING" not in a.daemon.process.log
    assert a.daemon.ask("status")["problems"] == []


def test_the_documented_filters_for_bird_keep_the_routes_apart(lab: Lab) -> None:
    a, _ = lab.servers
    where = share(lab, {"host1": 0, "host2": 1})
    _, two = where
    its_own = f"{two.data}/32"  # BIRD has a route to a client, from elsewhere
    page = (PROJECT / "docs/other-routers.md").read_text()
    (imported,) = re.findall(r"^ +import (where krt_source.*);", page, re.MULTILINE)
    (exported,) = re.findall(r"^ +export (where net .*);", page, re.MULTILINE)

    without = Bird(a.host, more=[its_own])
    without.start()
    wait_for("the conflict", lambda: a.daemon.ask("status")["problems"])
    assert ours_known_to(without)
    without.end(signal.SIGTERM)

    filters = Bird(a.host, imported, exported, [its_own])
    filters.start()
    assert not ours_known_to(filters)
    wait_for("no conflict", lambda: not a.daemon.ask("status")["problems"])
    wait_routes(lab, where)


def ours_known_to(bird: Bird) -> bool:
    """Whether BIRD has learnt our routes; it must have scanned the kernel."""
    wait_for("BIRD's routes", lambda: STATIC6 in bird.knows())
    return f"Kernel.source: {routes.PROTOCOL}" in bird.knows()
