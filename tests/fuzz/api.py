"""Fuzzes the API with schemathesis: requests made from docs/openapi.json, valid ones and others.

The daemon is a real one on fakes, with a peer, clients and events. It serves TCP on 127.0.0.1,
because schemathesis speaks no Unix sockets; the HTTP server is the same.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path

import trio

from cuberouted.api.http import Client
from cuberouted.api.http_server import HttpServer
from cuberouted.events import Event, ReloadRefused
from cuberouted.util.tasks import run_trio
from tests.fakes.api import ROOT
from tests.fakes.mesh import Mesh

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)

EVENTS = 1500
"""More than a reader gets at once."""


def run(seconds: int) -> bool:
    """Fuzz for so long. Returns whether nothing was found."""
    where = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("schemathesis", path=where)
    if program is None:
        print("schemathesis is missing: python -m pip install '.[fuzz]'", flush=True)
        return False
    return run_trio(_run, program, seconds)


async def _run(program: str, seconds: int) -> bool:
    failures: list[Event] = []
    async with trio.open_nursery() as nursery:
        port = await nursery.start(_serve, failures)
        done = await trio.run_process(
            [
                program,
                "run",
                str(DOCUMENT),
                f"--url=http://127.0.0.1:{port}",
                f"--checks={','.join(CHECKS)}",
                f"--max-time={seconds}",
                "--continue-on-failure",
                "--no-color",
                "--request-timeout=20",
            ],
            check=False,
        )
        nursery.cancel_scope.cancel()
    for failure in failures:
        print(failure, flush=True)
    return done.returncode == 0 and not failures


async def _serve(failures: list[Event], *, task_status: trio.TaskStatus[int]) -> None:
    """Serve the API of a daemon until cancelled; the status is the port."""
    async with trio.open_nursery() as nursery:
        mesh = Mesh(nursery)
        a, b = mesh.add("A", "allow_remote_disconnect = yes"), mesh.add("B")
        await mesh.start()
        a.connect("host1", "10.100.100.11")
        b.connect("host2", "10.100.100.12")
        for _ in range(EVENTS):
            a.daemon.events.publish(ReloadRefused(why="a mistake"))
        a.daemon.events.close()  # so that streams end

        async def client_of(_stream: trio.SocketStream) -> Client:
            return ROOT

        server = HttpServer(a.endpoints, failures.append, "API")
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(server.serve, listener, client_of))
        task_status.started(listener.socket.getsockname()[1])
