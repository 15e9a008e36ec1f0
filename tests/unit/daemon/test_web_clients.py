"""The web listener refuses clients of the VPN: whose an address is, and that nothing is read."""

from __future__ import annotations

from functools import partial

import attrs
import pytest

from cuberouted.api.http import Client
from cuberouted.api.http_server import HttpServer
from cuberouted.daemon.web import is_client, web_endpoints
from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.routing.rib import Origin, Source
from cuberouted.service_claim import ServiceClaim, ServicePhase
from cuberouted.web.request_filter import CLIENT_REFUSED, WebRequestFilter
from tests.fakes.api import exchange

ALLOWED = "allowed_networks = 10.100.100.0/28, 10.100.100.96/28, 10.200.200.0/24, 192.168.50.0/24"
CLIENTS = (
    *("10.100.100.11", "10.100.100.12"),  # connected here, and to the other server
    *("10.100.100.9", "10.100.100.250"),  # nobody now; the latter by the data interface's network
    *("192.168.50.1", "192.168.50.7"),  # networks behind clients
)
OTHERS = (
    *("127.0.0.1", "127.8.8.8", "::1"),
    *("10.100.100.101", "10.200.200.1", "10.100.100.102", "10.200.200.2"),  # servers
    *("192.0.2.9", "8.8.8.8", "192.168.51.1", "2001:db8::1"),
)


@pytest.fixture
async def node(mesh):
    """A server with a client, whose peer has another one with a network behind it."""
    a, b = mesh.add("A", ALLOWED, "on_exit = keep"), mesh.add("B", ALLOWED)
    await mesh.start()
    a.connect("host1", "10.100.100.11")
    b.connect("host2", "10.100.100.12", "192.168.50.0/24")
    await mesh.until(lambda: a.clients == {"10.100.100.12": "B", "192.168.50.0/24": "B"})
    return a


def among_clients(node, addresses):
    return [address for address in addresses if is_client(node.daemon.node, address)]


async def test_addresses_of_clients_are_told_from_those_of_servers_and_others(node, autojump_clock):
    assert among_clients(node, (*CLIENTS, *OTHERS)) == list(CLIENTS)


async def test_the_address_of_a_service_is_no_client_s(node, autojump_clock):
    db, web, inside = (Prefix.parse(f"10.100.100.{n}") for n in (7, 8, 9))
    policy = attrs.evolve(node.daemon.node.rib.policy, services={web.address: "web"})
    node.daemon.node.rib.policy = policy
    node.daemon.node.host = attrs.evolve(node.daemon.node.host, policy=policy)
    claim = ServiceClaim(ServicePhase.STANDBY, 100)
    node.daemon.node.rib.update(
        Source(Origin.PEER, "B"),
        "B",
        [Advertisement(db, Kind.SERVICE, b"db", 1, True, 0, claim)],
    )
    assert among_clients(node, [p.short for p in (db, web, inside)]) == [inside.short]


async def test_a_peer_that_is_down_is_a_server_if_its_address_is_configured(node, autojump_clock):
    await node.mesh["B"].crash()
    section = "[peer B]\nmgmt_interface = to-B\nmgmt_ip = 10.200.200.2\ndata_ip = 10.100.100.102"
    node.sections = [section]
    await node.reload()
    await node.mesh.until(lambda: not node.clients)
    assert among_clients(node, (*CLIENTS, *OTHERS)) == list(CLIENTS)


@pytest.mark.parametrize("settings", [[ALLOWED], []])
async def test_routes_that_are_left_of_an_earlier_run_tell_it_too(node, autojump_clock, settings):
    """While the data interface is missing, its network is not known."""
    await node.crash()
    await node.mesh["B"].crash()
    node.kernel.remove_link("tun0")
    node.settings = settings
    await node.start()
    assert node.clients
    assert among_clients(node, ("10.100.100.12", "192.168.50.7", "10.100.100.102")) == [
        *("10.100.100.12", "192.168.50.7")
    ]


async def test_whatever_a_client_asks_for_is_refused(node, autojump_clock):
    endpoints = web_endpoints(node.daemon)
    request_filter = WebRequestFilter(frozenset(), partial(is_client, node.daemon.node))
    server = HttpServer(endpoints, node.daemon.events.publish, "", request_filter)
    for target in (*(endpoint.path for endpoint in endpoints), "/nonsense"):
        for host in ("localhost", "evil.example"):
            request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            for address in CLIENTS:
                client = Client(address, reads=True, changes=False, local_address="10.200.200.1")
                reply = (await exchange(server, [2 * request], client)).decode()
                assert reply.startswith("HTTP/1.1 403 "), reply
                assert "\r\nConnection: close\r\n" in reply
                assert reply.endswith(f'\r\n\r\n{{"error":"{CLIENT_REFUSED}"}}')
