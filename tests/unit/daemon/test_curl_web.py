"""The curl examples of docs/web.md, run on a real listener."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from cuberouted.daemon.readiness import reasons_not_ready
from cuberouted.daemon.web import Web
from cuberouted.events import NodeProblem, decode
from tests.unit.daemon.meshes import HOST2

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

WHERE = "127.0.0.1:9657"
DOCUMENTATION = (Path(__file__).parents[3] / "docs/web.md").read_text("utf-8")
READY, STATUS, CLIENTS, EVENTS = re.findall(
    rf'^curl "?http://{WHERE}/.*$', DOCUMENTATION, re.MULTILINE
)


@pytest.fixture
async def where(mesh, nursery):
    """Address and port of the web listener of a node with a peer that has host2. In real time."""
    with closing(socket.socket()) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))  # without listening: nobody else is given this port
        address, port = reserved.getsockname()
        a, b = mesh.add("vpnsrvA", f"web_listen = {address}:{port}"), mesh.add("vpnsrvB")
        await mesh.start()
        b.connect("host2", HOST2)
        await mesh.until(lambda: a.clients == {HOST2: "vpnsrvB"})
        await mesh.until(lambda: reasons_not_ready(a.daemon) == [])
        a.daemon.events.publish(NodeProblem(what="kernel", why="out of memory"))
        nursery.start_soon(Web(a.daemon).run)
        await trio.testing.wait_all_tasks_blocked()  # it listens
        yield f"{address}:{port}"
        nursery.cancel_scope.cancel()


async def curl(example, where):
    """What it prints. It fails for a status from 400 on."""
    options = ("--silent", "--show-error", "--fail-with-body", "--noproxy", "*")
    done = await trio.run_process(
        [*shlex.split(example.replace(WHERE, where)), *options],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stdout
    return done.stdout


async def test_ready(where):
    assert await curl(READY, where) == b"ready\n"


async def test_status(where):
    status = json.loads(await curl(STATUS, where))
    assert (status["node"], status["peers"][0]["state"]) == ("vpnsrvA", "up")


async def test_clients_of_a_node(where):
    (client,) = json.loads(await curl(CLIENTS, where))["clients"]
    assert (client["name"], client["node"]) == ("host2", "vpnsrvB")


async def test_events_that_are_kept(where):
    events = [decode(line) for line in (await curl(EVENTS, where)).splitlines()]
    assert NodeProblem in map(type, events)
