"""SIGHUP reads the configuration again."""

from __future__ import annotations

from tests.lab import ping, routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import connect, share, start_daemons, wait_routes, wanted

CLIENTS = {"host1": 0, "host2": 1, "host3": 2}


def test_an_invalid_file_is_refused_and_the_configuration_stays(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    deletions = routes.Deletions(a.host)
    a.daemon.reload("hold_tiem = 3s\npoll_interval = never\n" + mesh(a))
    a.daemon.process.wait_log("cuberouted.conf:2: poll_interval")
    assert "cuberouted.conf:1: hold_tiem" in a.daemon.process.log
    assert "hold_time" in a.daemon.process.log
    wait_routes(lab, where)
    assert deletions.seen() == []


def test_a_removed_peer_loses_its_routes_and_another_keeps_them(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    one, two, _ = where
    a, b, _ = lab3.servers
    deletions = routes.Deletions(a.host)
    stream = ping.Stream(one.host, two.data)
    a.daemon.reload(mesh(a, peers=[b]))
    only_b = {to: dev for to, dev in wanted(a, where).items() if dev == a.device(b)}
    routes.wait_towards(a.host, only_b)
    stream.end()
    assert stream.lost() == 0
    assert not [line for line in deletions.seen() if f"dev {a.device(b)}" in line]


def test_an_added_peer_gets_routes(lab3: Lab) -> None:
    where = connect(lab3, CLIENTS)
    a, b, _ = lab3.servers
    start_daemons(lab3.servers)
    a.daemon.reload(mesh(a, peers=[b]))
    only_b = {to: dev for to, dev in wanted(a, where).items() if dev == a.device(b)}
    routes.wait_towards(a.host, only_b)
    a.daemon.reload(mesh(a))
    wait_routes(lab3, where)


def test_a_reload_that_changes_nothing_deletes_nothing(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    deletions = routes.Deletions(a.host)
    a.daemon.reload(mesh(a))
    a.daemon.process.wait_log("reloaded")
    wait_routes(lab, where)
    assert deletions.seen() == []


def test_a_change_that_needs_a_restart_refuses_the_whole_reload(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    a, b, _ = lab3.servers
    a.daemon.reload(mesh(a, "route_table = 100", peers=[b]))
    a.daemon.process.wait_log("route_table")
    wait_routes(lab3, where)
