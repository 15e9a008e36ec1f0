"""What the tests of services in whole daemons have in common."""

from __future__ import annotations

import trio

from cuberouted.events import Event
from cuberouted.model import Prefix
from tests.fakes.mesh import Mesh
from tests.fakes.server import Server

DB = "10.100.100.200"
ORDERLY = 0.05
"""Seconds of an orderly hand-over at most."""

LOST = 0.05
"""Seconds beyond hold_time after a crash, at most."""


def add_servers(mesh: Mesh, priorities: dict[str, int], *lines: str) -> list[Server]:
    """Servers with a section for the service db, by their names with their priority."""
    for name, priority in priorities.items():
        server = mesh.add(name)
        server.services["db"] = [f"address = {DB}", f"priority = {priority}", *lines]
    return mesh.servers


def add_alone(mesh: Mesh, *lines: str) -> Server:
    """A server A with the service db, whose only peer does not run."""
    server, *_ = add_servers(mesh, {"A": 100}, *lines)
    mesh.add("B")
    return server


async def remove(server: Server) -> None:
    """Somebody removes the address from *server*, or it has lost its power."""
    kernel = server.kernel
    await kernel.set_address(kernel.devices["lo"].index, Prefix.parse(DB).address, present=False)


async def started(mesh: Mesh, priorities: dict[str, int], *lines: str) -> list[Server]:
    """As `add_servers`; the first one has the address."""
    servers = add_servers(mesh, priorities, *lines)
    await mesh.start()
    await mesh.until(lambda: holders(mesh) == [servers[0].name])
    await mesh.until(lambda: all(phase(server, servers[0]) == "holding" for server in servers))
    await mesh.until(lambda: all(phase(servers[0], s) == "standby" for s in servers[1:]))
    return servers


def holders(mesh: Mesh) -> list[str]:
    """The servers that have the address."""
    return [server.name for server in mesh.servers if server.has(DB)]


def phase(server: Server, of: Server) -> str:
    """The phase of *of*, as *server* knows it."""
    nodes = service(server).nodes
    return next((row.phase for row in nodes if row.node == of.node), "")


def service(server: Server):
    """The service db, as *server* reports it."""
    return next(s for s in server.daemon.services.report().services if s.name == "db")


def events(server: Server, kind: type[Event]) -> list[str]:
    """Its events of *kind* as sentences, oldest first."""
    return [str(e) for e in server.daemon.events.after(0, 100_000) if isinstance(e, kind)]


class Watch:
    """Records at each step of time who has the address: ``overlaps`` are moments with two."""

    def __init__(self, mesh: Mesh) -> None:
        self.seen: list[list[str]] = []
        self._mesh = mesh

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            now = holders(self._mesh)
            if not self.seen or self.seen[-1] != now:
                self.seen.append(now)
            await trio.sleep(0.001)

    @property
    def overlaps(self) -> list[list[str]]:
        """The moments when more than one had it."""
        return [names for names in self.seen if len(names) > 1]
