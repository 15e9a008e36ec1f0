"""cuberouted, OpenVPN and the tunnels may start in any order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes, wanted


@pytest.fixture
def stopped_lab() -> Iterator[Lab]:
    """Two servers without a tunnel, and without OpenVPN."""
    with Lab(start=False) as lab:
        yield lab


def test_cuberouted_first_then_openvpn_and_the_interfaces_then_the_clients(
    stopped_lab: Lab,
) -> None:
    start_daemons(stopped_lab.servers)
    stopped_lab.start()
    where = connect(stopped_lab, {"host1": 0, "host2": 1})
    wait_routes(stopped_lab, where)
    assert_all_reach_all(where)


def test_what_it_waits_for_is_logged_once(stopped_lab: Lab) -> None:
    a, b = stopped_lab.servers
    start_daemons([a])
    for missing in ("tun0", "tun1"):
        a.daemon.process.wait_log(missing)
    b.daemon.run(mesh(b))
    stopped_lab.start()
    wait_routes(stopped_lab, {})
    before = a.daemon.process.log.partition("tun0")[0]
    assert len(before.splitlines()) < 10
    lines = [line for line in a.daemon.process.log.splitlines() if "wait" in line]
    assert len(lines) == len({line.split(" ", 2)[-1] for line in lines}), lines


def test_the_tunnel_starts_last(stopped_lab: Lab) -> None:
    for server in stopped_lab.servers:
        server.openvpn.start()
        server.openvpn.ready()
    where = connect(stopped_lab, {"host1": 0, "host2": 1})
    start_daemons(stopped_lab.servers)
    for server in stopped_lab.servers:
        assert routes.ours(server.host) == set()
        for tunnel in server.tunnels.values():
            tunnel.openvpn.start()
    wait_routes(stopped_lab, where)
    assert_all_reach_all(where)


def test_one_server_after_the_other(lab3: Lab) -> None:
    where = connect(lab3, {"host1": 0, "host2": 1, "host3": 2})
    running = []
    for server in lab3.servers:
        server.daemon.run(mesh(server))
        running.append(server)
        for other in running:
            silent = [one for one in lab3.servers if one not in running]
            routes.wait_towards(other.host, wanted(other, where, silent=silent))
    assert_all_reach_all(where)
