"""Many clients on a server of the lab: a second, fake management interface beside the real one.

Its clients are in 10.64.0.0/10; see tests/bench/fake_management_server.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench.mesh import SUBNET, FakeManagementServers
from tests.lab.addresses import SUBNET6
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.server import Server

SOCKET = "/run/many.sock"
DEVICE = "many0"


class ManyClients:
    """The fake management interfaces, one on each server."""

    def __init__(self, lab: Lab, management_servers: FakeManagementServers) -> None:
        self._servers = lab.servers
        self._management_servers = management_servers

    def call(self, server: Server, what: str, *arguments: float) -> Any:
        """Call a method of *server*'s `FakeManagementServer`. Returns the result."""
        return self._management_servers.call(self._servers.index(server), what, *arguments)


@contextmanager
def many_clients(lab: Lab) -> Iterator[ManyClients]:
    """A fake management interface on each server of *lab*, without clients yet."""
    for server in lab.servers:
        server.host.ip(
            f"link add {DEVICE} type veth peer name {DEVICE}-wire",
            f"link set {DEVICE}-wire up",
            f"address add 10.64.0.{server.number}/10 dev {DEVICE}",
            f"link set {DEVICE} up",
        )
    management_servers = FakeManagementServers([server.host.path(SOCKET) for server in lab.servers])
    try:
        management_servers.wait_ready()
        yield ManyClients(lab, management_servers)
    finally:
        management_servers.close()


def configuration(server: Server, *more: str) -> str:
    """As `configs.mesh`, for both of a server's OpenVPNs; *more* are lines of the node's."""
    own, *peers = mesh(server).split("\n\n")
    of_node = ("node ", "state_directory ")
    node = [line for line in own.splitlines() if line.startswith(of_node)]
    management = [line for line in own.splitlines() if not line.startswith(of_node)]
    real = [line.removeprefix("openvpn_") for line in management]
    management_servers = ["[openvpn many]", f"mgmt_socket = {SOCKET}", f"data_interface = {DEVICE}"]
    allowed = f"allowed_networks = {SUBNET}, {SUBNET6}"
    head = [*node, allowed, *more, "[openvpn real]", *real, *management_servers]
    return "\n\n".join(["\n".join(head), *peers])
