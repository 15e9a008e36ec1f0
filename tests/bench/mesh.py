"""Servers on one management network, each with cuberouted and a stand-in for OpenVPN.

What they need of real servers is there: a data interface with the clients' subnet, a way
to each other, a management interface. Real OpenVPN is left out where 20,000 clients are
wanted, or 50 servers.
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
    """One of them; ``number`` counts from 1."""

    def __init__(self, host: Host, number: int, stand_in: StandIns, *, traced: bool) -> None:
        self.host = host
        self.name = host.name
        self.number = number
        self.daemon = Daemon(host)
        self.daemon.argv = TRACED if traced else (*COMMAND, CONFIG)
        self._stand_in = stand_in
        host.ip(
            "link add tun0 type veth peer name wire0",
            "link set wire0 up",
            f"address add 10.64.0.{number}/10 dev tun0",
            "link set tun0 up",
        )

    def tell(self, what: str, *arguments: float) -> Any:
        """Tells its OpenVPN what happens to it; see `standin.StandIn`."""
        return self._stand_in.tell(self.number - 1, what, *arguments)


class StandIns:
    """The process behind all management interfaces."""

    def __init__(self, sockets: Sequence[Path]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.fake_management_server", *map(str, sockets)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Waits until it serves."""
        assert self._answer() == "ready"

    def tell(self, number: int, what: str, *arguments: float) -> Any:
        """What it answers, once it has been done."""
        assert self._process.stdin
        print(json.dumps([number, what, *arguments]), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


class Mesh:
    """A context manager; ``servers`` are there, but no daemon runs yet."""

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
        self._acquaint(hosts)
        stand_ins = StandIns([host.path(SOCKET) for host in hosts])
        self._stack.callback(stand_ins.close)
        stand_ins.wait_ready()
        for number, host in enumerate(hosts, 1):
            server = Server(host, number, stand_ins, traced=self._traced)
            self._stack.callback(server.daemon.close)
            server.daemon.configure(self.configuration(server))
            self.servers.append(server)

    def _acquaint(self, hosts: Sequence[Host]) -> None:
        """Tells every host who is where.

        Else the kernel asks by ARP, and has room for 1,024 answers in all namespaces together
        (gc_thresh3), where fifty hosts need 2,450. Permanent entries are not counted.
        """
        everybody = [
            f"neighbour replace 192.0.2.{number} lladdr 02:00:00:00:00:{number:02x} dev eth0"
            for number in range(1, self._count + 1)
        ]
        for number, host in enumerate(hosts, 1):
            host.ip(f"link set eth0 address 02:00:00:00:00:{number:02x}", *everybody)

    def configuration(self, server: Server, *more: str) -> str:
        """The daemon's configuration on *server*; *more* are further lines of it."""
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
        """Starts every daemon, and waits until all are ready."""
        for server in self.servers:
            server.daemon.start()
        for server in self.servers:  # fifty of them take turns on the cores
            server.daemon.process.says("serving", timeout=60.0)
            server.daemon.ready()
