"""/metrics: services, the state of the nodes, and what became of the clients of a drained one."""

from __future__ import annotations

import pytest
import trio

from cuberouted.api.report_drain import DrainOrder
from cuberouted.daemon.exposition import exposition
from cuberouted.daemon.metrics_view import View
from cuberouted.model import NodeState
from tests.fakes.commands import Behaviour
from tests.fakes.metrics import Scraped
from tests.unit.daemon.service_meshes import DB, add_servers, holders
from tests.unit.daemon.service_meshes import started as started_with_service

CHECK = "/bin/check"


def shown(server) -> Scraped:
    return Scraped(b"".join(exposition(View.of(server.daemon))).decode())


def states(server, **labels):
    """The series of the state that are 1."""
    name = "peer_node_state" if labels else "node_state"
    series = shown(server).series(name, **labels)
    assert len(series) == len(NodeState)
    return [dict(found)["state"] for found, value in series.items() if value]


# -- services --


async def test_who_has_a_service_and_that_it_moved(mesh, autojump_clock):
    a, b, c = await started_with_service(mesh, {"A": 200, "B": 150, "C": 100})
    for server in (a, b, c):
        metrics = shown(server)
        assert metrics.value("service_info", service="db", placement="single") == 1
        assert metrics.value("service_held", service="db") == (server is a)
        assert metrics.value("service_holders", service="db") == 1
        assert metrics.value("service_healthy", service="db") == 1
    before = shown(c).value("service_moves_total", service="db")
    await a.crash()
    await mesh.until(lambda: c.routes.get(DB) == "B")
    await mesh.until(lambda: c.daemon.counters.service_moves["db"] == before + 1)
    assert shown(c).value("service_moves_total", service="db") == before + 1
    assert shown(b).value("service_held", service="db") == 1
    assert shown(c).value("service_held", service="db") == 0
    assert shown(c).value("service_holders", service="db") == 1


async def test_two_that_do_not_hear_each_other_each_see_one_holder(mesh, autojump_clock):
    a, b, _ = await started_with_service(mesh, {"A": 200, "B": 150, "C": 100})
    for other in mesh.servers[1:]:
        mesh.network.partition(a.address, other.address)
    await mesh.until(lambda: holders(mesh) == ["A", "B"])
    assert [shown(s).value("service_held", service="db") for s in (a, b)] == [1, 1]
    assert [shown(s).value("service_holders", service="db") for s in (a, b)] == [1, 1]


async def test_a_check_that_fails_and_how_long_checks_take(mesh, autojump_clock):
    a, b = add_servers(mesh, {"A": 200, "B": 100}, f"check = {CHECK}")
    await mesh.start()
    await mesh.until(lambda: holders(mesh) == ["A"])
    assert shown(a).value("service_healthy", service="db") == 1
    checks = shown(a).value("service_check_duration_seconds_count", service="db")
    assert checks >= 1
    a.commands.behaviours[CHECK] = Behaviour(1)
    await mesh.until(lambda: holders(mesh) == ["B"])
    assert shown(a).value("service_healthy", service="db") == 0
    assert shown(a).value("service_check_duration_seconds_count", service="db") > checks
    assert shown(b).value("service_healthy", service="db") == 1


async def test_a_service_without_a_check_has_no_duration_of_checks(mesh, autojump_clock):
    a, _, _ = await started_with_service(mesh, {"A": 200, "B": 150, "C": 100})
    assert shown(a).series("service_check_duration_seconds_count") == {}


async def test_services_of_others_have_no_series(mesh, autojump_clock):
    a, b = add_servers(mesh, {"A": 200, "B": 100})
    del b.services["db"]
    await mesh.start()
    await mesh.until(lambda: b.routes.get(DB) == "A")
    assert {name for name, _ in shown(b).samples if name.startswith("service_")} == set()
    assert shown(a).value("service_held", service="db") == 1


# -- the state of the nodes --


async def test_the_state_of_a_node_is_told_by_itself_and_by_its_peers(mesh, autojump_clock):
    a, b = mesh.add("A", "capacity = 30"), mesh.add("B")
    await b.start()
    assert states(b, peer="A") == []
    assert shown(b).series("capacity") == shown(b).series("peer_capacity") == {}
    await a.start()
    await mesh.until(mesh.is_up)
    assert states(a) == states(b, peer="A") == ["active"]
    assert shown(a).value("node_state_timestamp_seconds") == 0
    assert shown(a).value("capacity") == shown(b).value("peer_capacity", peer="A") == 30
    until = int(a.wall_clock()) + 7200
    await a.daemon.maintenance.drain(DrainOrder(until=until), "root")
    assert states(a) != ["active"]
    assert shown(a).value("node_state_timestamp_seconds") == pytest.approx(a.wall_clock(), abs=2)
    assert shown(a).value("node_state_end_timestamp_seconds") == until
    await mesh.until(lambda: a.daemon.maintenance.record.state is NodeState.MAINTENANCE)
    assert states(a) == ["maintenance"]
    await trio.sleep(1)
    assert states(b, peer="A") == ["maintenance"]
    await a.crash()
    await mesh.until(lambda: b.session("A").state.value == "down")
    assert states(b, peer="A") == ["maintenance"]


async def test_what_became_of_the_clients_of_a_drained_node(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    await mesh.start()
    assert shown(a).value("drained_clients", outcome="moved") == 0

    def connect(client):
        back = client.name == b"host2"
        (a if back else b).connect(client.name.decode(), client.address.decode())

    a.openvpn.on_sent_on = connect
    for number in (1, 2, 3):
        a.connect(f"host{number}", f"10.100.100.{10 + number}")
    await mesh.until(lambda: len(b.clients) == 3)
    await a.daemon.maintenance.drain(DrainOrder(), "root")

    await mesh.until(lambda: a.daemon.maintenance.record.state is NodeState.MAINTENANCE)
    became = shown(a).series("drained_clients")
    assert {dict(labels)["outcome"]: count for labels, count in became.items() if count} == {
        "moved": 2,
        "came_back": 1,
    }
    sent_on = shown(a).value("sessions_sent_on_total", openvpn="openvpn")
    assert sent_on >= 3
    await trio.sleep(60)
    assert shown(a).value("sessions_sent_on_total", openvpn="openvpn") > sent_on
