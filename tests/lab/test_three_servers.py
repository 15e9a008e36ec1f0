"""Three servers with [peer] sections; the third works as the second does."""

from __future__ import annotations

from tests.lab import ping
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes

CLIENTS = {"host1": 0, "host2": 1, "host3": 2, "host4": 2}


def test_every_client_reaches_every_client(lab3: Lab) -> None:
    where = connect(lab3, CLIENTS)
    one, two, three, four = where
    assert ping.reaches(three.host, four.data)
    assert not ping.reaches(one.host, two.data)
    start_daemons(lab3.servers)
    wait_routes(lab3, where)
    assert_all_reach_all(where)


def test_a_client_visits_every_server_and_is_reached_on_each(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    one = next(iter(where))
    for server in (*lab3.servers[1:], lab3.servers[0]):
        one.roam(server)
        where[one] = server
        wait_routes(lab3, where)
        assert_all_reach_all(where)


def test_clients_come_and_go_on_all_servers_at_once(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    for client, server in where.items():
        client.vanish()
        where[client] = lab3.servers[(lab3.servers.index(server) + 1) % 3]
    for client, server in where.items():
        client.start(server)
    for client in where:
        client.openvpn.ready()
    wait_routes(lab3, where)
    assert_all_reach_all(where)
