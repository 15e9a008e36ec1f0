"""Configurations of cuberouted for the servers of the lab."""

from __future__ import annotations

from collections.abc import Iterable

from tests.lab.host import PROJECT
from tests.lab.server import Server

STATE_DIRECTORY = "/run/cuberouted-state"
"""Each host's own: /run is, /var/lib is not."""


def mesh(
    server: Server,
    *more: str,
    peers: Iterable[Server] | None = None,
    services: Iterable[str] = (),
) -> str:
    """A configuration with a [peer] section for each of *peers* (default: every other server).

    *more* are further lines for the node itself; *services* are whole sections.
    """
    own = [
        f"node = {server.name}",
        "data_interface = tun0",
        f"state_directory = {STATE_DIRECTORY}",
        *_management(*server.options.management.split()),
        *more,
    ]
    chosen = [tunnel.peer for tunnel in server.tunnels.values()] if peers is None else peers
    sections = (*(_peer(server, peer) for peer in chosen), *services)
    return "\n".join([*own, *sections]) + "\n"


def shipped(server: Server, example: str) -> str:
    """The file for this server in one of the project's examples, such as ``three-servers``."""
    return (PROJECT / f"conf/{example}/{server.name}.conf").read_text()


def _management(host: str, port: str, password: str = "") -> list[str]:
    """What goes with OpenVPN's option ``management``."""
    lines = [f"openvpn_mgmt_host = {host}", f"openvpn_mgmt_port = {port}"]
    if port == "unix":
        lines = [f"openvpn_mgmt_socket = {host}"]
    return [*lines, f"openvpn_mgmt_pass_file = {password}"] if password else lines


def _peer(server: Server, peer: Server) -> str:
    tunnel = server.tunnels[peer.name]
    return f"""
[peer {peer.name}]
mgmt_interface = {tunnel.device}
mgmt_ip = {tunnel.theirs}
data_ip = {peer.data}"""
