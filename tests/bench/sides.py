"""Two labs with real OpenVPN, measured in turns: one with cuberouted, one with BIRD."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

import attrs

from tests.bench import bird
from tests.bench.mesh import TRACED
from tests.bench.priority import servers_first
from tests.bench.route_monitor import RouteMonitor, RouteMonitors, device_index
from tests.lab.client import Client
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons, wait_routes
from tests.lab.server import Server

CONNECTED = "Peer Connection Initiated"
GONE = "client-instance exiting"


@attrs.define
class Side:
    """One of the labs. ``monitors``: of A and B, in that order. ``stays``: a client on A."""

    name: str
    lab: Lab
    monitors: RouteMonitors
    clients: list[Client]
    stays: Client

    @property
    def a(self) -> Server:
        """The server that clients connect to first."""
        return self.lab.servers[0]

    @property
    def b(self) -> Server:
        """The other."""
        return self.lab.servers[1]

    def monitor(self, server: Server) -> RouteMonitor:
        """The monitor of *server*."""
        return self.monitors[self.lab.servers.index(server)]

    def towards(self, server: Server) -> int:
        """The index, on the other server, of the device that leads to *server*."""
        other = self.b if server is self.a else self.a
        return device_index(other.host, other.device(server))


@contextlib.contextmanager
def side_by_side(clients: int) -> Iterator[list[Side]]:
    """The side with cuberouted, and the one with BIRD where that is installed.

    Each has that many clients, which are not connected, and one that stays on A.
    """
    with contextlib.ExitStack() as stack:
        with servers_first():
            labs = {"cuberouted": stack.enter_context(Lab())}
            start_daemons(labs["cuberouted"].servers)
            if bird.installed():
                labs["BIRD"] = stack.enter_context(bird.bird_lab())
        yield with_clients(labs, clients, stack)


def with_clients(labs: Mapping[str, Lab], clients: int, stack: contextlib.ExitStack) -> list[Side]:
    """The sides of *labs*, by name, with that many clients each."""
    sides = []
    for name, lab in labs.items():
        stays, *others = [lab.client(f"host{number}") for number in range(clients + 1)]
        stays.connect(lab.servers[0])
        monitors = stack.enter_context(
            RouteMonitors(*(server.host for server in lab.servers), realtime=True)
        )
        sides.append(Side(name, lab, monitors, others, stays))
    return sides


def trace(side: Side) -> None:
    """Restart the daemons of *side* with tracing, which costs 50 to 100 us per client."""
    for server in side.lab.servers:
        server.daemon.stop()
        server.daemon.argv = TRACED
    with servers_first():
        start_daemons(side.lab.servers)
    wait_routes(side.lab, {side.stays: side.a})


def logged_at(server: Server, client: Client, text: str) -> float:
    """When OpenVPN on *server* last logged *text* about *client*: Unix seconds."""
    name = re.escape(client.name)
    line = rf"^(\d+\.\d+) \w+ [^\n]*(?:\b{name}/|\[{name}\])[^\n]*{re.escape(text)}"
    found = re.findall(line, server.openvpn.process.log, re.MULTILINE)
    assert found, f"{server.name}'s OpenVPN never logged {text!r} about {client.name}"
    return float(found[-1])
