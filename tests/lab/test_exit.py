"""What is left when cuberouted ends; and what was never ours."""

from __future__ import annotations

import signal

import pytest

from tests.lab import routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import connect, share, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.waiting import wait_for

CLIENTS = {"host1": 0, "host2": 1}

FOREIGN = (
    "route add 10.100.100.14/32 dev tun1 proto static metric 50",  # host2's: ours would be the same
    "route add 10.100.100.14/32 dev tun1 proto static metric 60",
    "route add 10.100.100.77/32 dev tun1 proto bird metric 50",
    "route add fd00:100::14/128 dev tun1 proto static metric 50",
    "nexthop add id 250565700 dev tun1 proto static",
    "nexthop add id 17 dev tun1 proto bird",
    "route add 10.100.100.78/32 nhid 17 proto bird metric 50",
)


def nothing_of_ours(server: Server, table: str = "main") -> bool:
    """Whether no route, nexthop or rule of ours is left."""
    host = server.host
    return not (routes.ours(host, table) or routes.nexthops(host) or routes.rules(host))


def foreign(server: Server) -> set[routes.Route]:
    """All routes that are not ours."""
    return routes.routes(server.host) - routes.ours(server.host)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_of_ours_is_left(lab: Lab, number: signal.Signals) -> None:
    share(lab, CLIENTS)
    for server in lab.servers:
        assert server.daemon.process.end(number) == 0
        assert nothing_of_ours(server)


def test_the_peers_drop_our_clients_when_we_end(lab: Lab) -> None:
    share(lab, CLIENTS)
    a, b = lab.servers
    assert a.daemon.stop() == 0
    routes.wait_towards(b.host, {f"{a.data}/32": "tun1"}, timeout=1.0)


def test_on_exit_keep_keeps_the_routes_and_flush_removes_them(lab: Lab) -> None:
    where = connect(lab, CLIENTS)
    start_daemons(lab.servers, lambda server: mesh(server, "on_exit = keep"))
    wait_routes(lab, where)
    a, _ = lab.servers
    assert a.daemon.stop() == 0
    wait_routes(lab, where)
    done = a.daemon.command("flush")
    assert done.returncode == 0, done.stderr
    assert nothing_of_ours(a)


def test_flush_beside_a_running_daemon_is_refused(lab: Lab) -> None:
    where = share(lab, CLIENTS)
    done = lab.servers[0].daemon.command("flush")
    assert done.returncode != 0
    assert "running" in done.stderr
    wait_routes(lab, where)


def test_flush_cleans_up_after_a_crash_in_a_table_of_our_own(lab: Lab) -> None:
    where = connect(lab, CLIENTS)
    start_daemons(lab.servers, lambda server: mesh(server, "route_table = 100"))
    wait_routes(lab, where, table="100")
    a, _ = lab.servers
    a.daemon.crash()
    assert a.daemon.command("flush").returncode == 0
    assert nothing_of_ours(a, "100")


def test_foreign_routes_in_the_same_table_survive_everything(lab: Lab) -> None:
    a, _ = lab.servers
    a.host.ip(*FOREIGN)
    before = foreign(a)
    where = connect(lab, CLIENTS)
    _, two = where
    start_daemons(lab.servers)
    wait_for("the conflicts", lambda: a.daemon.ask("status")["routes"]["conflicts"] == 2)
    assert foreign(a) == before
    two.roam(lab.servers[0])
    two.roam(lab.servers[1])
    a.daemon.crash()
    a.daemon.start()
    a.daemon.ready()
    wait_for("the conflicts", lambda: a.daemon.ask("status")["routes"]["conflicts"] == 2)
    assert a.daemon.stop() == 0
    assert a.daemon.command("flush").returncode == 0
    assert foreign(a) == before
    assert nothing_of_ours(a)


def test_our_route_goes_in_once_a_foreign_one_in_its_place_has_gone(lab: Lab) -> None:
    a, _ = lab.servers
    a.host.ip(*FOREIGN[:1])
    where = connect(lab, CLIENTS)
    start_daemons(lab.servers)
    wait_for("the conflict", lambda: a.daemon.ask("status")["routes"]["conflicts"] == 1)
    a.host.ip("route del 10.100.100.14/32 dev tun1 proto static metric 50")
    wait_routes(lab, where)


def test_routes_and_nexthops_that_somebody_deletes_come_back(lab: Lab) -> None:
    where = share(lab, CLIENTS)
    _, two = where
    a, _ = lab.servers
    a.host.ip(f"route del {two.data}/32 proto 201")
    wait_routes(lab, where)
    a.host.ip(*(f"nexthop del id {entry['id']}" for entry in routes.nexthops(a.host)))
    wait_routes(lab, where)
