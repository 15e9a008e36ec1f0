"""Many clients on a server of the lab: a stand-in for a second OpenVPN, and what is real beside.

Its clients are in 10.64.0.0/10; see tests/bench/standin.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench.mesh import SUBNET, StandIns
from tests.lab.addresses import SUBNET6
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.server import Server

SOCKET = "/run/many.sock"
DEVICE = "many0"


class ManyClients:
    """The stand-ins, one on each server."""

    def __init__(self, lab: Lab, stand_ins: StandIns) -> None:
        self._servers = lab.servers
        self._stand_ins = stand_ins

    def tell(self, server: Server, what: str, *arguments: float) -> Any:
        """Tells the one of *server* what happens to it; see `standin.StandIn`."""
        return self._stand_ins.tell(self._servers.index(server), what, *arguments)


@contextmanager
def many_clients(lab: Lab) -> Iterator[ManyClients]:
    """A stand-in on each server of *lab*, without clients yet."""
    for server in lab.servers:
        server.host.ip(
            f"link add {DEVICE} type veth peer name {DEVICE}-wire",
            f"link set {DEVICE}-wire up",
            f"address add 10.64.0.{server.number}/10 dev {DEVICE}",
            f"link set {DEVICE} up",
        )
    stand_ins = StandIns([server.host.path(SOCKET) for server in lab.servers])
    try:
        stand_ins.wait_ready()
        yield ManyClients(lab, stand_ins)
    finally:
        stand_ins.close()


def configuration(server: Server, *more: str) -> str:
    """As `configs.mesh`, for both of a server's OpenVPNs; *more* are lines of the node's."""
    own, *peers = mesh(server).split("\n\n")
    node, *management = own.splitlines()
    real = [line.removeprefix("openvpn_") for line in management]
    stand_in = ["[openvpn many]", f"mgmt_socket = {SOCKET}", f"data_interface = {DEVICE}"]
    allowed = f"allowed_networks = {SUBNET}, {SUBNET6}"
    head = [node, allowed, *more, "[openvpn real]", *real, *stand_in]
    return "\n\n".join(["\n".join(head), *peers])
