"""The article's two servers, with its configuration files as the project ships them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import ping, routes
from tests.lab.configs import shipped
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes
from tests.lab.openvpn import Options
from tests.lab.server import Server


@pytest.fixture(params=["subnet", "net30"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(options=Options(topology=request.param)) as lab:
        yield lab


def test_the_article_s_files_make_clients_reach_each_other(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    one, two = where
    assert not ping.reaches(one.host, two.data)
    start_daemons(lab.servers, article)
    wait_routes(lab, where)
    assert_all_reach_all(where)


def test_a_server_s_own_traffic_to_remote_clients_is_answered(lab: Lab) -> None:
    a, b = lab.servers
    where = connect(lab, {"host2": 1})
    (two,) = where
    start_daemons(lab.servers, article)
    wait_routes(lab, where)
    assert ping.reaches(a.host, two.data)
    assert ping.reaches(two.host, a.data)
    assert ping.reaches(a.host, b.data)
    sources = {r.source for r in routes.ours(a.host) if ":" not in r.destination}
    assert sources == {a.data}


def test_our_routes_have_our_protocol_and_metric(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers, article)
    wait_routes(lab, where)
    for server in lab.servers:
        assert {r.metric for r in routes.ours(server.host)} == {routes.METRIC}
        assert {entry["dev"] for entry in routes.nexthops(server.host)} == {"tun1"}


def test_a_peer_without_a_configured_name_has_the_announced_one(lab: Lab) -> None:
    start_daemons(lab.servers, article)
    wait_routes(lab, {})
    status = lab.servers[0].daemon.ask("status")
    assert status["node"] == "vpnsrvA"
    assert [peer["name"] for peer in status["peers"]] == ["vpnsrvB"]


def article(server: Server) -> str:
    return shipped(server, "article")
