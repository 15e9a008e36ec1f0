"""What the tests of whole daemons have in common."""

from __future__ import annotations

from cuberouted.api.report import Status
from cuberouted.daemon import snapshot
from cuberouted.model import format_address
from cuberouted.routing.types import KernelState, Op

HOST1, HOST2, HOST3 = "10.100.100.11", "10.100.100.12", "10.100.100.13"
AT_ONCE = 0.1
NOTHING = KernelState(nexthops={}, routes={}, strays=())


async def started(mesh, names="ABC", *settings):
    for name in names:
        mesh.add(name, *settings)
    await mesh.start()
    return [mesh[name] for name in names]


def deletions(server, since):
    return [d for d in server.kernel.applied if d.at >= since and d.change.op is Op.DELETE]


def status(server) -> Status:
    return snapshot.status(server.daemon)


def routed_to(server, others, host=HOST1):
    return all(other.clients == {host: server.name} for other in others)


def states(server):
    return {peer.name: peer.state for peer in status(server).peers}


def two_server_form(peer):
    """What names the only peer where there are no sections."""
    return [f"mgmt_interface = to-{peer.name}", f"remote_mgmt_ip = {format_address(peer.address)}"]


def sessions(server):
    """By peer; each compares equal to itself alone."""
    return {label: peer.session for label, peer in server.daemon.peers.items()}
