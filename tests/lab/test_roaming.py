"""A client moves to another server while the old one still lists its dead session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import ping
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes
from tests.lab.openvpn import Options
from tests.lab.server import Server
from tests.lab.waiting import wait_for

CLIENTS = {"host1": 0, "host2": 0, "host3": 1}


@pytest.fixture(params=[(), ("client-to-client",)], ids=["", "client-to-client"])
def roaming_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(options=Options(lines=request.param)) as lab:
        yield lab


def test_a_client_that_vanished_is_reached_on_its_new_server_at_once(roaming_lab: Lab) -> None:
    where = share(roaming_lab, CLIENTS)
    _, b = roaming_lab.servers
    one, two, _ = where
    stream = ping.Stream(two.host, one.data)
    one.roam(b)
    connected = one.openvpn.logged_at("Initialization Sequence Completed")
    where[one] = b
    # the dead session is listed for 20 s; without cuberouted it would take as long
    assert stream.reply_after(connected) - connected < 1.0
    stream.end()
    wait_routes(roaming_lab, where)
    assert_all_reach_all(where)


def test_the_dead_session_on_the_old_server_is_killed(roaming_lab: Lab) -> None:
    where = share(roaming_lab, CLIENTS)
    a, b = roaming_lab.servers
    one = next(iter(where))
    assert_listed(a, one, where_it_is=a)
    one.roam(b)
    wait_for("A's OpenVPN to kill it", lambda: killed(a, one) == 1)
    assert_listed(a, one, where_it_is=b)
    assert killed(b, one) == 0


def test_a_client_moves_five_times_within_a_minute(roaming_lab: Lab) -> None:
    # each time both servers list it; with client-to-client it is reached once the old one is killed
    where = share(roaming_lab, CLIENTS)
    a, b = roaming_lab.servers
    one = next(iter(where))
    for server in (b, a, b, a, b):
        one.roam(server)
        where[one] = server
        wait_routes(roaming_lab, where)
        assert_all_reach_all(where)


def test_a_client_that_leaves_and_moves_is_reached_at_once(roaming_lab: Lab) -> None:
    where = share(roaming_lab, CLIENTS)
    b = roaming_lab.servers[1]
    one = next(iter(where))
    one.leave()
    one.connect(b)
    where[one] = b
    wait_routes(roaming_lab, where)
    assert_all_reach_all(where)


def test_routes_follow_a_client_without_kill_superseded_sessions(lab: Lab) -> None:
    where = connect(lab, CLIENTS)
    start_daemons(lab.servers, lambda server: mesh(server, "kill_superseded_sessions = no"))
    wait_routes(lab, where)
    a, b = lab.servers
    one = next(iter(where))
    one.roam(b)
    where[one] = b
    wait_routes(lab, where)
    assert_all_reach_all(where)
    assert killed(a, one) == 0


def killed(server: Server, client: Client) -> int:
    """How often cuberouted has killed this client's session there, by OpenVPN's own log."""
    return server.openvpn.process.log.count(f"MANAGEMENT: CMD 'kill \"{client.name}\"'")


def assert_listed(server: Server, client: Client, where_it_is: Server) -> None:
    """`clients` on *server* shows the client once, and on the right server."""

    def look() -> bool:
        shown = server.daemon.ask("clients")["clients"]
        nodes = [row["node"] for row in shown if row["address"].split("/")[0] == client.data]
        assert nodes == [where_it_is.name], nodes
        return True

    wait_for(f"{client.name} to be shown on {where_it_is.name}", look)
