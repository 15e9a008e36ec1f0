"""``web_names = no``: no reply of the web listener contains the name or the address of a client."""

from __future__ import annotations

import pytest
import trio

from cuberouted.api.http import Client
from cuberouted.api.http_server import HttpServer
from cuberouted.daemon.web import web_endpoints
from cuberouted.events import DisconnectRequested
from cuberouted.web.request_filter import WebRequestFilter
from tests.fakes.api import exchange
from tests.unit.daemon.meshes import status

ANYBODY = Client("", reads=True, changes=False, local_address="127.0.0.1")

NAMES = ("anna-phone", "berta-laptop", "cesar-router", "emil-row")
ADDRESSES = ("10.100.100.66", "10.100.100.77", "172.16.88.88")
SECRETS = (*NAMES, *ADDRESSES)


@pytest.fixture
async def node(mesh):
    """A node with everything that has a client's name or address in it."""
    a, b = mesh.add("A", "web_listen = 127.0.0.1:9657", "web_names = no"), mesh.add("B")
    await mesh.start()
    a.connect("anna-phone", "10.100.100.66")
    a.connect("dora-far", "172.16.88.88")  # refused here
    b.connect("cesar-router", "10.100.100.77")
    await mesh.until(lambda: a.clients == {"10.100.100.77": "B"})
    a.kernel.add_route("10.100.100.77/32", "tun0", metric=10)
    b.connect("berta-laptop", "10.100.100.66")  # a pool conflict, and a superseded session
    a.daemon.events.publish(
        DisconnectRequested(client="anna-phone", at_node="A", by="uid 1000 (anna)")
    )
    await trio.sleep(60)
    a.openvpn.fall_silent()
    a.openvpn.say(b">HOLD:emil-row\r\n")  # the state of OpenVPN quotes what it sends
    await mesh.until(lambda: status(a).openvpn[0].state == "hold")
    return a


async def fetch_all(node):
    """The replies to all kinds of requests for every path, by request."""
    return {target: await fetch(node, target) for target in targets(node)}


async def fetch(node, target):
    server = HttpServer(
        web_endpoints(node.daemon), node.daemon.events.publish, "", WebRequestFilter(frozenset())
    )
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    reply = await exchange(server, [request.encode()], ANYBODY)
    return reply.decode()


def targets(node):
    for endpoint in web_endpoints(node.daemon):
        if endpoint.stream:
            yield f"{endpoint.path}?after=0&follow=0"
            yield f"{endpoint.path}?after=x"
            continue
        before, argument, _ = endpoint.path.partition("{")
        for value in (NAMES[0], ADDRESSES[0], "nonsense") if argument else ("",):
            yield f"{before}{value}"
            yield f"{before}{value}?nonsense=1"
    yield "/nonsense"


async def test_no_reply_contains_a_name_or_an_address_of_a_client(node, autojump_clock):
    for target, reply in (await fetch_all(node)).items():
        assert reply.startswith("HTTP/1.1 "), target
        assert [secret for secret in SECRETS if secret in reply] == [], f"{target}: {reply}"


async def test_only_what_is_about_clients_is_refused(node, autojump_clock):
    replies = await fetch_all(node)
    refused = {target for target, reply in replies.items() if reply.startswith("HTTP/1.1 403")}
    whys = {f"/v1/why/{target}" for target in (NAMES[0], ADDRESSES[0], "nonsense")}
    assert refused == {"/v1/clients", "/v1/routes", "/v1/drain", *whys}
    for path in ("/", "/metrics", "/v1/status", "/v1/nodes", "/v1/services"):
        assert replies[path].startswith("HTTP/1.1 200"), path


async def test_with_names_they_are_all_there(node, autojump_clock):
    """So that the test above looks for what could be there."""
    node.settings.remove("web_names = no")
    await node.reload()
    ready = await fetch(node, "/readyz")  # while OpenVPN is not silent for long
    replies = await fetch_all(node) | {"/readyz": ready}
    everything = "".join(replies.values())
    assert [secret for secret in SECRETS if secret not in everything] == []
    for path in ("/v1/status", "/v1/clients", "/readyz", "/events?after=0&follow=0"):
        assert any(secret in replies[path] for secret in SECRETS), path
