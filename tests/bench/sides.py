"""Two labs of real OpenVPN side by side, for measuring in turns: cuberouted's and BIRD's."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import attrs

from tests.bench import bird
from tests.bench.mesh import TRACED
from tests.bench.priority import servers_first
from tests.bench.route_monitor import Ears, device_index
from tests.lab.client import Client
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons, wait_routes
from tests.lab.server import Server

CONNECTED = "Peer Connection Initiated"
GONE = "client-instance exiting"


@attrs.define
class Side:
    """One of them. ``ears`` are on A and B, in that order."""

    name: str
    lab: Lab
    ears: Ears
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

    def ear(self, server: Server) -> int:
        """Which of the ears is on *server*."""
        return self.lab.servers.index(server)

    def towards(self, server: Server) -> int:
        """The index, on the other server, of the device that leads to *server*."""
        other = self.b if server is self.a else self.a
        return device_index(other.host, other.device(server))


@contextlib.contextmanager
def side_by_side(clients: int) -> Iterator[list[Side]]:
    """cuberouted's side, and BIRD's where it is installed.

    Each has so many clients, not connected, and one that stays on A.
    """
    with contextlib.ExitStack() as stack:
        with servers_first():
            labs = {"cuberouted": stack.enter_context(Lab())}
            start_daemons(labs["cuberouted"].servers)
            if bird.installed():
                labs["BIRD"] = stack.enter_context(bird.bird_lab())
        sides = []
        for name, lab in labs.items():
            stays, *others = [lab.client(f"host{number}") for number in range(clients + 1)]
            stays.connect(lab.servers[0])
            ears = stack.enter_context(Ears(*(server.host for server in lab.servers), prompt=True))
            sides.append(Side(name, lab, ears, others, stays))
        yield sides


def trace(side: Side) -> None:
    """Puts daemons with marks in the place of *side*'s, which takes them 50 to 100 us more."""
    for server in side.lab.servers:
        server.daemon.stop()
        server.daemon.argv = TRACED
    with servers_first():
        start_daemons(side.lab.servers)
    wait_routes(side.lab, {side.stays: side.a})


def said_at(server: Server, client: Client, text: str) -> float:
    """When OpenVPN on *server* last said *text* of *client*: Unix seconds."""
    name = re.escape(client.name)
    line = rf"^(\d+\.\d+) \w+ [^\n]*(?:\b{name}/|\[{name}\])[^\n]*{re.escape(text)}"
    found = re.findall(line, server.openvpn.process.log, re.MULTILINE)
    assert found, f"{server.name}'s OpenVPN never said {text!r} of {client.name}"
    return float(found[-1])
