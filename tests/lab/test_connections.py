"""Clients connect and disconnect: routes come and go on the other server."""

from __future__ import annotations

from tests.lab import ping, routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes


def test_a_client_that_connects_is_reached(lab: Lab) -> None:
    where = share(lab, {"host1": 0})
    two = lab.client("host2")
    two.connect(lab.servers[1])
    where[two] = lab.servers[1]
    wait_routes(lab, where)
    assert_all_reach_all(where)


def test_the_route_is_installed_within_half_a_second_of_the_connection(lab: Lab) -> None:
    where = share(lab, {"host1": 0})
    one = next(iter(where))
    two = lab.client("host2")
    stream = ping.Stream(one.host, two.data)
    two.connect(lab.servers[1])
    connected = two.openvpn.logged_at("Initialization Sequence Completed")
    assert stream.reply_after(connected) - connected < 0.5
    stream.end()


def test_an_alternative_name_of_an_interface_is_a_name(lab: Lab) -> None:
    for server in lab.servers:
        for device in ("tun0", "tun1"):
            server.host.ip(f"link property add dev {device} altname my-{device}")
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(
        lab.servers,
        lambda server: mesh(server).replace("= tun0", "= my-tun0").replace("= tun1", "= my-tun1"),
    )
    wait_routes(lab, where)
    assert_all_reach_all(where)


def test_a_client_that_leaves_loses_its_route(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    two.leave()
    del where[two]
    wait_routes(lab, where)
    assert not ping.reaches(one.host, two.data)


def test_a_client_that_connects_again_to_its_server_keeps_its_route(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    _, two = where
    deletions = routes.Deletions(lab.servers[0].host)
    two.vanish()
    two.connect(lab.servers[1])
    assert_all_reach_all(where)
    wait_routes(lab, where)
    assert deletions.seen() == []
