"""All servers of a lab together: cuberouted on each, and what their kernels must then have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from tests.lab import ping, routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.server import Server

Whereabouts = Mapping[Client, Server]
"""Which server each connected client is on."""


def start_daemons(servers: Iterable[Server], configuration: Callable[[Server], str] = mesh) -> None:
    """Starts cuberouted on each of *servers*, and waits until all are ready."""
    chosen = list(servers)
    for server in chosen:
        server.daemon.configure(configuration(server))
        server.daemon.start()
    for server in chosen:
        server.daemon.ready()


def connect(lab: Lab, names: Mapping[str, int]) -> dict[Client, Server]:
    """New clients, each connected to the server of that index, and where they are then."""
    where = {lab.client(name): lab.servers[index] for name, index in names.items()}
    for client, server in where.items():
        client.start(server)
    for client in where:
        client.openvpn.ready()
    return where


def wanted(
    server: Server, where: Whereabouts, *, silent: Collection[Server] = ()
) -> dict[str, str]:
    """The routes that *server* must have: every other server, and every client there.

    Of *silent* servers only the configured ``data_ip`` is known.
    """
    routes_to: dict[str, str] = {}
    for tunnel in server.tunnels.values():
        routes_to[f"{tunnel.peer.data}/32"] = tunnel.device
        if tunnel.peer not in silent:
            routes_to[f"{tunnel.peer.data6}/128"] = tunnel.device
    for client, on in where.items():
        if on is not server and on not in silent:
            device = server.tunnels[on.name].device
            own = f"{client.data}/32", f"{client.data6}/128", *client.networks
            routes_to |= dict.fromkeys(own, device)
    return routes_to


def wait_routes(
    lab: Lab, where: Whereabouts, *, silent: Collection[Server] = (), table: str = "main"
) -> None:
    """Waits until every server that speaks has the routes that it must have, and no other."""
    for server in lab.servers:
        if server not in silent:
            routes.wait_towards(server.host, wanted(server, where, silent=silent), table)


def assert_all_reach_all(where: Whereabouts) -> None:
    """Every client reaches every other, over IPv4 and IPv6."""
    for one in where:
        for other in where:
            if one is not other:
                for address in (other.data, other.data6):
                    assert ping.reaches(one.host, address), f"{one.name} does not reach {address}"


def share(lab: Lab, names: Mapping[str, int]) -> dict[Client, Server]:
    """Connects new clients, starts every daemon, and waits for the routes: where they are."""
    where = connect(lab, names)
    start_daemons(lab.servers)
    wait_routes(lab, where)
    return where
