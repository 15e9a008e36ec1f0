"""docs/migrating.md: BIRD with OpenVPN's scripts gives way to cuberouted."""

from __future__ import annotations

import re
import signal

from tests.bench.bird import CONFIG, SOCKET, bird_lab
from tests.lab import ping
from tests.lab.host import PROJECT, Host
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes
from tests.lab.routes import routes
from tests.lab.waiting import wait_for
from tests.pages import blocks

PAGE = list(blocks(PROJECT / "docs/migrating.md"))
[IMPORT] = re.findall(r"import where .*;", "".join(block.text for block in PAGE))
[COMPARE] = (block.text for block in PAGE if block.text.startswith("comm "))

[SHOW, FLUSH] = next(b.text for b in PAGE if b.text.startswith("ip route show")).splitlines()

MORE = 50
"""Pings, at 100 a second, after BIRD has gone."""


def test_routes_that_cube_routed_has_left_are_removed_and_no_others() -> None:
    host = Host("vpnsrvA")
    try:
        host.wait_ready()
        host.ip(
            "tuntap add tun1 mode tun",
            "address add 10.200.200.1/24 dev tun1",
            "link set tun1 up",
            "route add 10.100.100.14/32 dev tun1",
            "route add 10.100.100.18/32 via 10.200.200.5",
            "route add 10.100.100.22/32 dev tun1 proto 201 metric 50",
            "route add 10.9.0.0/24 dev tun1",
        )
        assert len(host.run("sh", "-c", SHOW).splitlines()) == 2
        host.run("sh", "-c", FLUSH)
        left = {route.destination for route in routes(host)}
        assert left == {"10.100.100.22/32", "10.9.0.0/24", "10.200.200.0/24"}
    finally:
        host.close()


def of_bird(host: Host) -> set[str]:
    return {route.destination for route in routes(host) if route.protocol == "bird"}


def test_bird_with_scripts_gives_way_without_a_lost_packet() -> None:
    with bird_lab() as lab:
        a, b = lab.servers
        where = connect(lab, {"host1": 0, "host2": 1})
        one, two = where
        wait_for("BIRD's route", lambda: f"{two.data}/32" in of_bird(a.host))
        wait_for("the way back", lambda: f"{one.data}/32" in of_bird(b.host))
        stream = ping.Stream(one.host, two.data)
        for server in lab.servers:
            text = server.host.path(CONFIG).read_text()
            changed, number = re.subn(r"import where .*;", lambda _: IMPORT, text)
            assert number == 1
            server.host.write(CONFIG, changed)
            server.host.run("birdc", "-s", SOCKET, "configure")
        start_daemons(lab.servers)
        wait_routes(lab, where)
        for server in lab.servers:
            assert server.host.run("bash", "-c", COMPARE) == ""
            assert of_bird(server.host)
        for server in lab.servers:
            server.host.processes["bird"].end(signal.SIGTERM)
        wait_for("BIRD's routes to go", lambda: not of_bird(a.host) | of_bird(b.host))
        end = len(stream.replies()) + MORE
        wait_for("more pings", lambda: len(stream.replies()) > end)
        stream.end()
        assert stream.lost() == 0

        two.roam(a)  # OpenVPN's scripts run on
        where[two] = a
        wait_routes(lab, where)
        assert_all_reach_all(where)
        wait_for("no problem", lambda: not a.daemon.ask("status")["problems"])
        assert b.daemon.ask("status")["problems"] == []
