"""What whole daemons say of themselves to each other."""

from __future__ import annotations

from cuberouted.events import NodeStateChanged
from cuberouted.maintenance.record import MaintenanceRecord
from cuberouted.model import MAX_REMOTES, NodeInfo, NodeState
from tests.unit.daemon.meshes import AT_ONCE, HOST1, HOST2, started

REMOTES = "openvpn_remote = vpn1.example.org 1194 udp, vpn1.example.org 443 tcp"


def info_of(server, peer):
    return server.session(peer.name).info


async def test_peers_know_capacity_remotes_and_the_clients_that_openvpn_counts(mesh):
    a, b, c = await started(mesh, "ABC", "capacity = 40", REMOTES)
    a.connect("host1", HOST1)
    a.connect("host2", HOST2)
    await mesh.until(lambda: info_of(b, a).clients == info_of(c, a).clients == 2, within=3)
    assert info_of(b, a) == NodeInfo(
        clients=2,
        capacity=40,
        remotes=("vpn1.example.org 1194 udp", "vpn1.example.org 443 tcp"),
    )


async def test_a_changed_configuration_is_known_at_once(mesh):
    a, b = await started(mesh, "AB")
    a.settings += ("capacity = 7",)
    await a.reload()
    await mesh.until(lambda: info_of(b, a).capacity == 7, within=AT_ONCE + 0.1)


async def test_maintenance_is_known_at_once_and_listeners_are_called(mesh):
    a, b = await started(mesh, "AB")
    seen = []
    b.daemon.peer_info_listeners.append(lambda: seen.append(info_of(b, a)))
    record = MaintenanceRecord(state=NodeState.DRAINING, by="root", since=5, reason="kernel")
    a.daemon.maintenance.record = record
    a.daemon.node_info.refresh()
    await mesh.until(lambda: bool(seen), within=AT_ONCE + 0.1)
    assert seen == [NodeInfo(state=NodeState.DRAINING, by="root", since=5, reason="kernel")]
    [event] = [e for e in b.daemon.events.after(0) if isinstance(e, NodeStateChanged)]
    assert str(event) == "node A: active -> draining, by root: kernel"


async def test_more_remotes_than_fit_are_left_out(mesh):
    many = ", ".join(f"vpn{number} 1194 udp" for number in range(MAX_REMOTES + 10))
    a, b = await started(mesh, "AB", f"openvpn_remote = {many}")
    await mesh.until(lambda: info_of(b, a) is not None)
    assert len(info_of(b, a).remotes) == MAX_REMOTES
