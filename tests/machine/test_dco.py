"""OpenVPN with data channel offload: Debian's openvpn-dco-dkms in Debian's kernels."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab import ping
from tests.machine.server import Server
from tests.machine.site import Site

MODULE = "ovpn-dco-v2"
SERVER = "openvpn-server@server"


@pytest.fixture
def offloading(site: Site) -> Iterator[Site]:
    """The site with OpenVPN's servers offloading data to the kernel."""
    for server in site.servers.values():
        server.machine.run("modprobe", MODULE)
        restart(site, server)
    yield site
    for server in site.servers.values():
        server.machine.run("systemctl", "stop", SERVER)
        server.machine.run("rmmod", MODULE)
        restart(site, server)
    site.wait_well()


def restart(site: Site, server: Server) -> None:
    server.machine.run("systemctl", "restart", SERVER)
    site.client(server).openvpn.restart()  # else it notices by its keepalive, after 10 s
    site.client(server).openvpn.ready()


def wait_routes(site: Site) -> None:
    for server in site.servers.values():
        site.wait_routes(server)


def warnings(server: Server) -> list[str]:
    """What `status` warns of."""
    found: list[str] = json.loads(server.cuberouted("status", "--json"))["warnings"]
    return found


def test_clients_of_servers_that_offload_reach_each_other(offloading: Site) -> None:
    site = offloading
    wait_routes(site)
    site.wait_all_reach_all()
    for server in site.servers.values():
        assert "ovpn-dco" in server.machine.run("ip", "-d", "link", "show", "tun0")
        clients = json.loads(server.cuberouted("clients", "--json"))["clients"]
        assert len(clients) == 2, clients
        # Debian's OpenVPN may list ghosts, and cuberouted says so
        assert any("with DCO, this version" in text for text in warnings(server)), warnings(server)


def test_a_client_that_leaves_a_server_that_offloads_has_no_route(offloading: Site) -> None:
    site = offloading
    wait_routes(site)
    client = site.client(site.a)
    client.openvpn.process.end()
    site.b.machine.wait_for(
        "no route to the client", lambda: client.data not in site.b.routes(), 30
    )
    client.connect()
    wait_routes(site)
    ping.wait_reaches(site.client(site.b).host, client.data)
