"""Configurations of cuberouted for the servers of the lab."""

from __future__ import annotations

from collections.abc import Iterable

from tests.lab.host import PROJECT
from tests.lab.server import Server


def article(server: Server) -> str:
    """The article's file for this server, as the project ships it."""
    return (PROJECT / f"conf/article/{server.name}.conf").read_text()


def mesh(server: Server, *more: str, peers: Iterable[Server] | None = None) -> str:
    """A configuration with a [peer] section for each of *peers* (default: every other server).

    *more* are further lines for the node itself.
    """
    own = [
        f"node = {server.name}",
        "data_interface = tun0",
        "openvpn_mgmt_pass_file = /etc/openvpn/pass",
        "openvpn_mgmt_port = 5656",
        *more,
    ]
    chosen = [tunnel.peer for tunnel in server.tunnels.values()] if peers is None else peers
    return "\n".join([*own, *(_peer(server, peer) for peer in chosen)]) + "\n"


def _peer(server: Server, peer: Server) -> str:
    tunnel = server.tunnels[peer.name]
    return f"""
[peer {peer.name}]
mgmt_interface = {tunnel.device}
mgmt_ip = {tunnel.theirs}
data_ip = {peer.data}"""
