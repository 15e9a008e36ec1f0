"""Servers on one management network, each with cuberouted and a fake management interface.

They have what cuberouted needs of a server: a data interface with the clients' subnet, a
network between them, a management interface. Real OpenVPN would be too slow for 20,000
clients or 50 servers.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.lab.daemon import COMMAND, CONFIG, Daemon
from tests.lab.host import PROJECT, Host
from tests.lab.network import Network

SOCKET = "/run/openvpn.sock"
SUBNET = "10.64.0.0/10"
TRACED = (sys.executable, "-m", "tests.bench.traced", CONFIG)


class Server:
    """One server; ``number`` counts from 1."""

    def __init__(
        self, host: Host, number: int, management_servers: FakeManagementServers, *, traced: bool
    ) -> None:
        self.host = host
        self.name = host.name
        self.number = number
        self.daemon = Daemon(host)
        self.daemon.argv = TRACED if traced else (*COMMAND, CONFIG)
        self._management_servers = management_servers
        host.ip(
            "link add tun0 type veth peer name wire0",
            "link set wire0 up",
            f"address add 10.64.0.{number}/10 dev tun0",
            "link set tun0 up",
        )

    def call(self, method: str, *arguments: float) -> Any:
        """Call a method of its `FakeManagementServer`. Returns the result."""
        return self._management_servers.call(self.number - 1, method, *arguments)


class FakeManagementServers:
    """The process that serves all management interfaces."""

    def __init__(self, sockets: Sequence[Path]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.fake_management_server", *map(str, sockets)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Wait until it serves."""
        assert self._result() == "ready"

    def call(self, number: int, method: str, *arguments: float) -> Any:
        """Call a method of server *number* (from 0). Returns the result."""
        assert self._process.stdin
        print(json.dumps([number, method, *arguments]), file=self._process.stdin, flush=True)
        return self._result()

    def _result(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Mesh:
    """A context manager that makes ``servers``; their daemons are not started."""

    def __init__(self, count: int, *, traced: bool = False) -> None:
        self.servers: list[Server] = []
        self._count = count
        self._traced = traced
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self._build()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self) -> None:
        network = Network()
        self._stack.callback(network.close)
        hosts = [Host(f"server{number}") for number in range(1, self._count + 1)]
        for host in hosts:
            self._stack.callback(host.close)
        network.wait_ready()
        for number, host in enumerate(hosts, 1):
            host.wait_ready()
            network.plug(host, number)
        self._add_neighbours(hosts)
        management_servers = FakeManagementServers([host.path(SOCKET) for host in hosts])
        self._stack.callback(management_servers.close)
        management_servers.wait_ready()
        for number, host in enumerate(hosts, 1):
            server = Server(host, number, management_servers, traced=self._traced)
            self._stack.callback(server.daemon.close)
            server.daemon.configure(self.configuration(server))
            self.servers.append(server)

    def _add_neighbours(self, hosts: Sequence[Host]) -> None:
        """Give every host the link-layer address of every other.

        The ARP cache has room for 1,024 entries in all namespaces together (gc_thresh3), where
        fifty hosts need 2,450. Permanent entries are not counted.
        """
        neighbours = [
            f"neighbour replace 192.0.2.{number} lladdr 02:00:00:00:00:{number:02x} dev eth0"
            for number in range(1, self._count + 1)
        ]
        for number, host in enumerate(hosts, 1):
            host.ip(f"link set eth0 address 02:00:00:00:00:{number:02x}", *neighbours)

    def configuration(self, server: Server, *more: str) -> str:
        """The configuration of the daemon on *server*; *more* are further lines of it."""
        lines = [
            f"node = server{server.number}",
            "data_interface = tun0",
            "mgmt_interface = eth0",
            f"openvpn_mgmt_socket = {SOCKET}",
            *more,
        ]
        for number in range(1, self._count + 1):
            if number != server.number:
                lines += [
                    f"[peer server{number}]",
                    f"mgmt_ip = 192.0.2.{number}",
                    f"data_ip = 10.64.0.{number}",
                ]
        return "\n".join(lines) + "\n"

    def start(self) -> None:
        """Start every daemon, and wait until all are ready."""
        for server in self.servers:
            server.daemon.start()
        for server in self.servers:  # fifty of them share the cores
            server.daemon.process.wait_log(": running", timeout=60.0)
            server.daemon.ready()
