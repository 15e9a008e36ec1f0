"""The examples of docs/commands.md of the HTTP API, run by curl on a real control socket."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from cuberouted.api.http_server import HttpServer
from cuberouted.api.server import listening, serve
from tests.unit.daemon.meshes import HOST2

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

SOCKET = "/run/cuberouted/control.sock"
EXAMPLES = (Path(__file__).parents[3] / "docs" / "commands.md").read_text("utf-8")
STATUS, CLIENTS, WHY, KEPT, STREAM, DISCONNECT, DRAIN, DRAINED = re.findall(
    rf"^curl --unix-socket {SOCKET} .*$", EXAMPLES, re.MULTILINE
)


@pytest.fixture
async def control(mesh, nursery, tmp_path):
    """The control socket of a daemon that has host1; host2 is at its peer. In real time."""
    a = mesh.add("vpnsrvA", "allow_remote_disconnect = yes")
    b = mesh.add("vpnsrvB", "allow_remote_disconnect = yes")
    await mesh.start()
    a.connect("host1", "10.100.100.11")
    b.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "vpnsrvB"})
    with listening(tmp_path / "control.sock") as socket:
        server = HttpServer(a.endpoints, a.daemon.events.publish, "control socket")
        nursery.start_soon(serve, socket, server)
        yield tmp_path / "control.sock"
        nursery.cancel_scope.cancel()


async def curl(example, control, *options):
    """What it prints. It fails for a status from 400 on."""
    command = shlex.split(example.replace(SOCKET, str(control)))
    done = await trio.run_process(
        [*command, "--silent", "--show-error", "--fail-with-body", *options],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stdout
    return done.stdout


async def test_status(control):
    status = json.loads(await curl(STATUS, control))
    assert (status["node"], status["peers"][0]["state"]) == ("vpnsrvA", "up")


async def test_clients_of_a_node(control):
    (client,) = json.loads(await curl(CLIENTS, control))["clients"]
    assert (client["name"], client["node"]) == ("host2", "vpnsrvB")


async def test_why(control):
    why = json.loads(await curl(WHY, control))
    assert why["target"] == "10.100.100.12"


async def test_events_that_are_kept(control):
    events = [json.loads(line) for line in (await curl(KEPT, control)).splitlines()]
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert "client_joined" in {event["type"] for event in events}


async def test_events_as_they_come(control):
    command = shlex.split(STREAM.replace(SOCKET, str(control)))
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, stdout=subprocess.PIPE, check=False)
        process = await nursery.start(run, [*command, "--silent"])
        received = b""
        with trio.fail_after(10):
            while b"disconnect_requested" not in received:
                with trio.move_on_after(0.2):
                    received += await process.stdout.receive_some()
                if not received:  # curl may not have connected when the first one happens
                    await curl(DISCONNECT, control)
        nursery.cancel_scope.cancel()


async def test_disconnect(control):
    report = json.loads(await curl(DISCONNECT, control))
    outcomes = {node["node"]: node["outcome"] for node in report["nodes"]}
    assert outcomes == {"vpnsrvA": "not_found", "vpnsrvB": "ended"}


async def test_a_node_is_drained_and_tells_what_became_of_its_clients(control):
    assert json.loads(await curl(DRAINED, control))["state"] == "active"
    report = json.loads(await curl(DRAIN, control))
    assert (report["state"], report["reason"]) == ("draining", "new disk")
    assert [row["name"] for row in json.loads(await curl(DRAINED, control))["clients"]] == ["host1"]


async def test_an_error_is_a_status_and_json(control):
    wrong = WHY.replace("/why/", "/whyy/")
    with pytest.raises(AssertionError, match="unknown path /v1/whyy"):
        await curl(wrong, control)
    head = await curl(STATUS, control, "--head")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
