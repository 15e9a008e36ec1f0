"""The web listener of a daemon: reloads move it, and what is wrong with it is known."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from cuberouted.daemon import web as web_module
from cuberouted.daemon.web import Web
from cuberouted.events import NodeProblem, NodeProblemEnded
from cuberouted.web import listener
from tests.unit.daemon.meshes import status
from tests.unit.web.test_listener import PATIENCE, REQUEST


class Node:
    """A daemon with a web listener, in real time."""

    def __init__(self, server, web, port):
        self.server = server
        self.web = web
        self.port = port

    async def reload(self, *settings):
        self.server.settings = list(settings)
        await self.server.reload()
        self.web.reconfigure()

    async def listen(self, *settings):
        await self.reload(f"web_listen = 127.0.0.1:{self.port}", *settings)

    def events(self):
        ring = self.server.daemon.events
        kinds = NodeProblem, NodeProblemEnded
        return [e for e in ring.after(0) if isinstance(e, kinds) and e.what == "web_listen"]

    async def reply(self, port, host=b"localhost"):
        """The first line of the reply; empty if nothing listens there."""
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(REQUEST % host)
                return b"".join([data async for data in stream]).partition(b"\r\n")[0]
        except OSError:
            return b""

    async def until(self, condition):
        with trio.fail_after(PATIENCE):
            while not await condition():  # noqa: ASYNC110 - a socket has no event
                await trio.sleep(0.01)

    async def until_served(self):
        async def served():
            return await self.reply(self.port)

        await self.until(served)


@pytest.fixture
async def node(mesh, nursery, unused_port):
    server = mesh.add("A")
    mesh.add("B")
    await mesh.start()
    web = Web(server.daemon)
    nursery.start_soon(web.run)
    return Node(server, web, unused_port())


NOT_FOUND = b"HTTP/1.1 404 Not Found"


async def test_a_reload_opens_moves_and_closes_it(node, unused_port):
    assert await node.reply(node.port) == b""
    await node.listen()
    await node.until_served()
    assert await node.reply(node.port) == NOT_FOUND
    before, node.port = node.port, unused_port()
    await node.listen()
    await node.until_served()
    assert await node.reply(before) == b""
    await node.reload()

    async def closed():
        return not await node.reply(node.port)

    await node.until(closed)
    assert node.events() == []


async def test_a_reload_changes_the_hosts_it_is_known_by(node):
    await node.listen()
    await node.until_served()
    assert b" 421 " in await node.reply(node.port, b"vpn-a.example.org")
    await node.listen("web_hosts = other.example, VPN-A.example.org.")

    async def known():
        return await node.reply(node.port, b"vpn-a.example.org:80") == NOT_FOUND

    await node.until(known)
    assert b" 421 " in await node.reply(node.port, b"example.org")


async def test_a_reload_admits_clients_of_the_vpn_and_refuses_them_again(node, monkeypatch):
    monkeypatch.setattr(web_module, "is_client", lambda _node, address: address == "127.0.0.1")
    for settings, wanted in (([], b" 403 "), (["web_clients = yes"], b" 404 "), ([], b" 403 ")):
        await node.listen(*settings)

        async def is_answered(wanted=wanted):
            return wanted in await node.reply(node.port)

        await node.until(is_answered)


async def test_another_reload_leaves_its_connections_alone(node):
    await node.listen()
    await node.until_served()
    async with await trio.open_tcp_stream("127.0.0.1", node.port) as stream:
        request = (REQUEST % b"localhost").replace(b"Connection: close\r\n", b"")
        await stream.send_all(request)
        assert await stream.receive_some()
        await node.listen("poll_interval = 2s")
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(request)
        assert (await stream.receive_some()).startswith(NOT_FOUND)


async def test_a_port_in_use_is_one_problem_that_ends(node, monkeypatch):
    attempts, bind = [], listener._bind

    def noted(listen):
        attempts.append(listen)
        return bind(listen)

    monkeypatch.setattr(listener, "_bind", noted)
    monkeypatch.setattr(listener, "MIN_RETRY_DELAY", 0.01)
    problem = (
        f"127.0.0.1:{node.port}: the port is in use (`ss -ltnp` shows by what): use another one"
    )

    async def is_known():
        return f"web_listen: {problem}" in status(node.server).problems

    async def tried_again():
        return len(attempts) > 2

    with socket.create_server(("127.0.0.1", node.port)):
        await node.listen()
        await node.until(is_known)
        await node.until(tried_again)
        (event,) = node.events()
        assert isinstance(event, NodeProblem)
        assert event.why == problem
    await node.until_served()
    assert not await is_known()
    _, ended = node.events()
    assert isinstance(ended, NodeProblemEnded)


async def test_a_problem_ends_when_it_is_not_to_listen_any_more(node):
    with socket.create_server(("127.0.0.1", node.port)):
        await node.listen()

        async def reported():
            return len(node.events()) == 1

        await node.until(reported)
        await node.reload()

        async def ended():
            return len(node.events()) == 2

        await node.until(ended)
    assert isinstance(node.events()[1], NodeProblemEnded)
    assert not [one for one in status(node.server).problems if "web_listen" in one]
