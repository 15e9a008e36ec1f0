"""Many real OpenVPN clients on three servers, most of which know all servers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from cuberouted.events import AnyEvent, decode
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons
from tests.lab.openvpn import Options
from tests.lab.server import Server
from tests.lab.waiting import wait_for

SERVERS = ("vpnsrvA", "vpnsrvB", "vpnsrvC")
STATUS = "/run/openvpn/clients.log"
WEB = "127.0.0.1:9657"
AT_A_TIME = 10
"""Clients that connect at the same time."""


class Fleet:
    """The servers of *lab* and their clients. ``single``: the names of those that know one only."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.clients: dict[str, Client] = {}
        self.single: dict[str, Server] = {}

    def connect(self, count: int) -> None:
        """New clients of all servers in turn; half of those of each try the others in reverse."""
        servers = self.lab.servers
        for begin in range(0, count, AT_A_TIME):
            started = []
            for number in range(begin, min(begin + AT_A_TIME, count)):
                first, turn = number % len(servers), number // len(servers)
                others = (*servers[first + 1 :], *servers[:first])
                client = self._new(f"host{number + 1}")
                client.also = others if turn % 2 else others[::-1]
                client.start(servers[first])
                started.append(client)
            for client in started:
                client.openvpn.ready()

    def connect_single(self, name: str, server: Server) -> None:
        """A new client that knows *server* only."""
        self.single[name] = server
        self._new(name).connect(server)

    def whereabouts(self) -> dict[str, str]:
        """Where each client is, as the OpenVPN servers themselves say."""
        return {name: server.name for server in self.lab.servers for name in listed(server)}

    def counts(self) -> Counter[str]:
        """How many clients each server has."""
        return Counter(self.whereabouts().values())

    def wait_settled(self, timeout: float = 30.0) -> dict[str, str]:
        """Where each client is, once each is at one server only, and all daemons know it."""

        def look() -> dict[str, str]:
            names = [name for server in self.lab.servers for name in listed(server)]
            assert sorted(names) == sorted(self.clients)
            where = self.whereabouts()
            for server in self.lab.servers:
                rows = server.daemon.ask("clients")["clients"]
                known = {row["name"]: row["node"] for row in rows}
                assert known == where
            return where

        return wait_for("every client to be at one server", look, timeout)

    def _new(self, name: str) -> Client:
        self.clients[name] = client = self.lab.client(name)
        return client


@contextmanager
def fleet(clients: int) -> Iterator[Fleet]:
    """Three servers with so many clients that know all of them; no daemon runs yet."""
    options = Options(lines=(f"status {STATUS} 1", "status-version 3"))
    with Lab(SERVERS, options) as lab:
        made = Fleet(lab)
        made.connect(clients)
        yield made


def configuration(server: Server, *more: str, services: Collection[str] = ()) -> str:
    """As `configs.mesh`, with a remote and the web listener."""
    remote = f"openvpn_remote = {server.internet} 1194 udp"
    return mesh(server, f"web_listen = {WEB}", remote, *more, services=services)


def start(made: Fleet) -> None:
    """Start the daemon of each server, and wait until each knows all clients."""
    start_daemons(made.lab.servers, configuration)
    made.wait_settled()


def listed(server: Server) -> list[str]:
    """The clients that OpenVPN on *server* writes to its status file."""
    rows = server.host.path(STATUS).read_text().splitlines()
    return [row.split("\t")[1] for row in rows if row.startswith("CLIENT_LIST\t")]


def order(server: Server, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a command on *server*."""
    done = server.daemon.command(*arguments)
    return done.returncode, done.stdout + done.stderr


def reply(server: Server, *arguments: str) -> dict[str, Any]:
    """The JSON object that a command on *server* prints, whatever its exit status."""
    done = server.daemon.command(*arguments, "--json")
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def ready(server: Server) -> str:
    """What /readyz replies."""
    return server.host.run("curl", "--silent", "--max-time", "5", f"http://{WEB}/readyz")


def remotes(server: Server) -> set[str]:
    """The addresses that `nodes --remotes` prints on *server*."""
    lines = server.daemon.command("nodes", "--remotes").stdout.splitlines()
    return {line.split()[1] for line in lines}


def events(server: Server, after: float = 0.0) -> list[AnyEvent]:
    """The events on *server* since *after* (Unix seconds)."""
    done = server.daemon.command("history", "--json")
    found = [decode(line.encode()) for line in done.stdout.splitlines()]
    return [event for event in found if event.time.timestamp() >= after]
