"""An OpenVPN that runs only where its service is: what is normal where it is not."""

from __future__ import annotations

import trio
import trio.testing

from cuberouted.api.selection import Selection
from cuberouted.daemon.exposition import exposition
from cuberouted.daemon.metrics_view import View
from cuberouted.daemon.readiness import reasons_not_ready
from cuberouted.daemon.snapshot import nodes, status_line
from tests.fakes.metrics import Scraped
from tests.fakes.server import section_of
from tests.unit.daemon.meshes import status
from tests.unit.daemon.service_meshes import add_servers, holders, phase

SETTINGS = ("allowed_networks = 10.100.100.0/24", "openvpn_service = db")


def run_openvpn(server, runs):
    """OpenVPN and its tun device are there, or are not."""
    server.kernel.set_up("tun0", runs)
    server.openvpn.start() if runs else server.openvpn.stop()


def row(server):
    """Name and state of its OpenVPN, and why it has that."""
    [one] = status(server).openvpn
    return one.name, one.state, one.detail


def openvpn_up(server):
    """The values of the metric."""
    text = b"".join(exposition(View.of(server.daemon))).decode()
    return list(Scraped(text).series("openvpn_up").values())


async def add_role(mesh, *lines):
    """A has the service and its OpenVPN, B neither."""
    servers = a, b = add_servers(mesh, {"A": 200, "B": 100}, *lines)
    for server in servers:
        server.settings += SETTINGS
    await trio.testing.wait_all_tasks_blocked()
    run_openvpn(b, False)
    await mesh.start()
    await mesh.until(lambda: holders(mesh) == ["A"] and phase(b, a) == "holding")
    return a, b


async def test_an_openvpn_whose_service_is_elsewhere_is_no_problem(mesh, autojump_clock):
    a, b = await add_role(mesh)
    assert row(b) == ("openvpn", "standby", "service db is at A")
    assert status(b).well, status(b).problems
    assert "waiting" not in status_line(b.daemon)
    assert openvpn_up(b) == []
    assert row(a) == ("openvpn", "connected", "")
    assert openvpn_up(a) == [1]


async def test_a_node_without_any_openvpn_is_not_ready(mesh, autojump_clock):
    a, b = await add_role(mesh)
    assert reasons_not_ready(a.daemon) == []
    where = "service db is at A"
    assert reasons_not_ready(b.daemon) == [f"no OpenVPN process runs here: {where}"]
    assert reasons_not_ready(b.daemon, "openvpn") == [f"openvpn openvpn does not run here: {where}"]
    [own, _] = (await nodes(b.daemon, Selection.of())).nodes
    assert not own.available


async def test_one_that_is_elsewhere_does_not_count_where_another_runs(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    b.kernel.add_tunnel("tun3")
    b.openvpns.clear()
    b.add_openvpn("one")
    two = b.add_openvpn("two")
    a.services["db"] = ["address = 10.100.100.200", "priority = 200"]
    b.sections = [
        "[openvpn one]\ndata_interface = tun0\nmgmt_port = 5656",
        "[openvpn two]\ndata_interface = tun3\nmgmt_port = 5658\nservice = db",
        section_of(a),
        "[service db]\naddress = 10.100.100.200\npriority = 100",
    ]
    await trio.testing.wait_all_tasks_blocked()
    two.stop()
    b.kernel.set_up("tun3", False)
    await mesh.start()
    await mesh.until(lambda: phase(b, a) == "holding")
    await mesh.until(lambda: reasons_not_ready(b.daemon) == [])
    assert [(o.name, o.state) for o in status(b).openvpn] == [
        ("one", "connected"),
        ("two", "standby"),
    ]
    assert reasons_not_ready(b.daemon, "two") == [
        "openvpn two does not run here: service db is at A"
    ]


async def test_where_the_service_is_an_openvpn_that_does_not_run_is_a_problem(mesh, autojump_clock):
    a, b = await add_role(mesh)
    run_openvpn(a, False)
    await mesh.until(lambda: row(a)[1] == "waiting")
    assert not status(a).well
    await mesh.until(lambda: "waiting for interface tun0" in status(a).problems)
    assert "interface tun0 is missing or down" in reasons_not_ready(a.daemon)
    assert openvpn_up(a) == [0]
    assert status(b).well


async def test_a_role_that_moves_is_well_on_both_ends(mesh, autojump_clock):
    a, b = await add_role(mesh)
    run_openvpn(a, False)
    await a.stop()
    await mesh.until(lambda: holders(mesh) == ["B"])
    assert row(b)[1] == "waiting"
    run_openvpn(b, True)
    await mesh.until(lambda: row(b) == ("openvpn", "connected", ""))
    await a.start()
    await mesh.until(lambda: row(a) == ("openvpn", "standby", "service db is at B"))
    await mesh.until(lambda: reasons_not_ready(b.daemon) == [])


async def test_without_any_holder_it_is_on_standby_as_well(mesh, autojump_clock):
    a, b = await add_role(mesh, "witness = yes")
    await a.crash()
    await mesh.until(lambda: row(b)[2] == "no node has service db")
    assert row(b)[1] == "standby"


async def test_an_openvpn_that_runs_without_the_service_is_shown_as_it_is(mesh, autojump_clock):
    _, b = await add_role(mesh)
    run_openvpn(b, True)
    await mesh.until(lambda: row(b) == ("openvpn", "connected", ""))
    await mesh.until(lambda: reasons_not_ready(b.daemon) == [])


async def test_the_initial_sync_waits_for_no_openvpn_on_standby(mesh, autojump_clock):
    _, b = await add_role(mesh)
    assert trio.current_time() < b.daemon.initial_sync_ends
    assert b.daemon.node.all_listed.is_set()


async def test_the_initial_sync_waits_for_the_openvpn_of_an_address_that_was_kept(
    mesh, autojump_clock
):
    a, b = await add_role(mesh)
    await a.crash()
    await b.crash()
    a.openvpn.fall_silent()
    await a.start()
    await mesh.until(lambda: [s.claim.phase for s in a.daemon.services.local] == ["adopted"])
    assert not a.daemon.node.all_listed.is_set()
    a.openvpn.wake_up()
    await mesh.until(a.daemon.node.all_listed.is_set)
