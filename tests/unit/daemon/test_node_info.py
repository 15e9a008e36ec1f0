"""What whole daemons say of themselves to each other."""

from __future__ import annotations

from cuberouted.api.report import Nodes
from cuberouted.api.report_drain import DrainOrder
from cuberouted.daemon.readiness import reasons_not_ready
from cuberouted.daemon.snapshot import status_line
from cuberouted.events import NodeStateChanged
from cuberouted.maintenance.record import MaintenanceRecord
from cuberouted.model import MAX_REASON, MAX_REMOTES, NodeInfo, NodeState
from tests.fakes.api import get
from tests.unit.daemon.meshes import AT_ONCE, HOST1, HOST2, started, status

REMOTES = "openvpn_remote = vpn1.example.org 1194 udp, vpn1.example.org 443 tcp"


def info_of(server, peer):
    return server.session(peer.name).info


async def test_peers_know_capacity_remotes_and_the_number_of_clients(mesh, autojump_clock):
    a, b, c = await started(mesh, "ABC", "capacity = 40", REMOTES)
    a.connect("host1", HOST1)
    a.connect("host2", HOST2)
    await mesh.until(lambda: info_of(b, a).clients == info_of(c, a).clients == 2, within=3)
    assert info_of(b, a) == NodeInfo(
        clients=2,
        capacity=40,
        remotes=("vpn1.example.org 1194 udp", "vpn1.example.org 443 tcp"),
    )


async def test_a_changed_configuration_is_known_at_once(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    a.settings += ("capacity = 7",)
    await a.reload()
    await mesh.until(lambda: info_of(b, a).capacity == 7, within=AT_ONCE + 0.1)


async def test_maintenance_is_known_at_once(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    await mesh.until(lambda: info_of(b, a) is not None)
    await a.daemon.maintenance.drain(DrainOrder(reason="kernel"), "root")
    # without clients it is in maintenance a moment later
    await mesh.until(lambda: info_of(b, a).state is not NodeState.ACTIVE, within=AT_ONCE + 0.1)
    assert (info_of(b, a).by, info_of(b, a).reason) == ("root", "kernel")
    await a.daemon.maintenance.resume("root")
    await mesh.until(lambda: info_of(b, a).state is NodeState.ACTIVE, within=AT_ONCE + 0.1)
    event, *_ = [e for e in b.daemon.events.after(0) if isinstance(e, NodeStateChanged)]
    assert (event.of_node, event.old, event.by, event.why) == ("A", "active", "root", "kernel")


async def test_more_remotes_than_fit_are_left_out(mesh, autojump_clock):
    many = ", ".join(f"vpn{number} 1194 udp" for number in range(MAX_REMOTES + 10))
    a, b = await started(mesh, "AB", f"openvpn_remote = {many}")
    await mesh.until(lambda: info_of(b, a) is not None)
    assert len(info_of(b, a).remotes) == MAX_REMOTES


def drain(server, state=NodeState.DRAINING, **more):
    server.daemon.maintenance.record = MaintenanceRecord(state=state, by="root", since=60, **more)
    server.daemon.node_info.refresh()


async def nodes(server):
    reply = await get(server.endpoints, "/v1/nodes", Nodes)
    return {node.name: node for node in reply.nodes}


async def test_nodes_that_are_up_and_active_are_available(mesh, autojump_clock):
    a, b, c, d = await started(mesh, "ABCD", "capacity = 40", REMOTES)
    a.connect("host1", HOST1)
    drain(b, reason="kernel", until=3600)
    await c.crash()
    await mesh.until(lambda: a.session("C").state == "down" and info_of(d, a).clients == 1)
    seen = await nodes(a)
    assert {name: node.available for name, node in seen.items()} == {
        "A": True,
        "B": False,
        "C": False,
        "D": True,
    }
    assert (seen["A"].counted, seen["A"].capacity, len(seen["A"].remotes)) == (1, 40, 2)
    assert (seen["D"].counted, seen["D"].capacity, len(seen["D"].remotes)) == (0, 40, 2)
    b_row = seen["B"]
    assert (b_row.maintenance, b_row.by, b_row.reason) == ("draining", "root", "kernel")
    assert (b_row.since, b_row.until) == ("1970-01-01T00:01:00Z", "1970-01-01T01:00:00Z")
    assert (b_row.state, seen["C"].maintenance) == ("up", "active")


async def test_a_node_that_has_not_been_heard_is_not_known_to_be_active(mesh, autojump_clock):
    a, _ = mesh.add("A"), mesh.add("B")
    await a.start()
    b_row = (await nodes(a))["B"]
    assert (b_row.maintenance, b_row.available, b_row.counted) == ("", False, None)
    assert status(a).peers[0].maintenance == ""


async def test_a_drained_node_is_not_ready_and_says_so_at_once(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    assert (await nodes(a))["A"].available
    drain(a, reason="kernel")
    assert reasons_not_ready(a.daemon) == ["this node is draining, by root: kernel"]
    assert reasons_not_ready(a.daemon, details=False) == ["this node is draining"]
    assert not (await nodes(a))["A"].available
    assert status_line(a.daemon) == "draining (kernel), 0 clients, 1 route"
    drain(a, NodeState.MAINTENANCE)
    assert reasons_not_ready(a.daemon) == ["this node is in maintenance, by root"]
    assert (status(a).maintenance, status(a).by) == ("maintenance", "root")
    await mesh.until(lambda: status(b).peers[0].maintenance == "maintenance", within=0.3)
    drain(a, NodeState.ACTIVE)
    assert reasons_not_ready(a.daemon) == []


async def test_whatever_the_reason_contains_the_peers_accept_the_heartbeats(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    drain(a, reason="\x1b\n\ud800" * 166)
    await mesh.until(lambda: info_of(b, a).reason.startswith("\\x1b\\n\\ud800"), within=0.3)
    assert len(info_of(b, a).reason) == MAX_REASON
    assert status(b).peers[0].refused == 0
    assert "\n" not in status_line(a.daemon)
