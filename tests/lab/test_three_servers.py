"""Three servers with [peer] sections; the third works as the second does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import ping
from tests.lab.configs import shipped
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes
from tests.lab.openvpn import Options

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


@pytest.fixture
def example_lab() -> Iterator[Lab]:
    """As the project's example for three servers has it: OpenVPN listens on a Unix socket."""
    options = Options(management="/run/openvpn-management/server.sock unix")
    with Lab(("vpnsrvA", "vpnsrvB", "vpnsrvC"), options) as lab:
        yield lab


def test_the_example_s_files_work_as_they_stand(example_lab: Lab) -> None:
    where = connect(example_lab, CLIENTS)
    start_daemons(example_lab.servers, lambda server: shipped(server, "three-servers"))
    wait_routes(example_lab, where)
    assert_all_reach_all(where)
