"""The article's case on two machines: two servers of different Debian releases, two clients."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.lab import addresses, ping, pki
from tests.lab.host import PROJECT, Host
from tests.lab.network import Network
from tests.lab.openvpn import OpenVPN, client_config
from tests.lab.ping import Stream
from tests.machine.machine import Machine
from tests.machine.server import RELEASES, Server

SUITES = {"vpnsrvA": "bookworm", "vpnsrvB": "trixie"}
CLIENTS = {"host1": addresses.client_data(1), "host2": addresses.client_data(2)}
FIRST_CLIENT = 100
"""Clients have numbers from here on in the bridge's network; machines those from 1."""


class Client:
    """A client of one server, in namespaces of its own on the machines' bridge."""

    def __init__(self, host: Host, server: Server) -> None:
        self.host = host
        self.server = server
        self.data = CLIENTS[host.name]
        config = client_config(host.name, server.machine.address)
        self.openvpn = OpenVPN(host, "client", config)

    def connect(self) -> None:
        """Connects for as long as the test runs: OpenVPN itself connects again."""
        self.openvpn.start()
        self.openvpn.ready()


class Site:
    """vpnsrvA with host1, vpnsrvB with host2, and cuberouted on both, installed as a package."""

    def __init__(self, driver: type[Machine]) -> None:
        self._driver = driver
        self._stack = contextlib.ExitStack()
        self.servers: dict[str, Server] = {}
        self.clients: dict[str, Client] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self._build()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def a(self) -> Server:
        """vpnsrvA, Debian 12."""
        return self.servers["vpnsrvA"]

    @property
    def b(self) -> Server:
        """vpnsrvB, Debian 13."""
        return self.servers["vpnsrvB"]

    def peer(self, server: Server) -> Server:
        """The other one."""
        return self.b if server is self.a else self.a

    def client(self, server: Server) -> Client:
        """Its client."""
        return next(client for client in self.clients.values() if client.server is server)

    def each(self, action: Callable[[Server], object]) -> None:
        """Does something on both servers at the same time."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(action, self.servers.values()))

    @contextlib.contextmanager
    def pings(self, server: Server) -> Iterator[Stream]:
        """A stream of pings from *server*'s client to the other, until the end of the block.

        Raises:
          AssertionError: one was not answered.
        """
        stream = Stream(self.client(server).host, self.client(self.peer(server)).data)
        try:
            stream.reply_after(stream.started)
            yield stream
            stream.reply_after(time.time())
        finally:
            stream.end()
        assert stream.lost() == 0, f"{stream.longest_gap().seconds:.3f} s without an answer"

    def restore(self, server: Server) -> None:
        """The configuration that *server* was set up with, applied by a restart."""
        server.set_configuration(server.configuration(self.peer(server)))
        server.systemctl("restart")

    def _build(self) -> None:
        network = Network()
        self._stack.callback(network.close)
        network.wait_ready()
        for number, (name, suite) in enumerate(SUITES.items(), 1):
            machine = self._driver(name, suite, network, number)
            self._stack.callback(machine.close)
            self.servers[name] = Server(machine)
        key = pki.static_key()
        pki.authority()
        self.each(lambda server: self._set_up(server, key))
        for number, (name, server) in enumerate(zip(CLIENTS, self.servers.values(), strict=True)):
            host = Host(name)
            self._stack.callback(host.close)
            host.wait_ready()
            network.plug(host, FIRST_CLIENT + number)
            self.clients[name] = Client(host, server)
        for client in self.clients.values():
            client.connect()
        self.wait_well()

    def _set_up(self, server: Server, key: str) -> None:
        server.machine.boot()
        server.install(package(server.machine.suite))
        server.set_up(self.peer(server), key, CLIENTS)

    def wait_well(self) -> None:
        """Waits until both servers have the routes that they must have, and find no problem."""
        self.each(self.wait_routes)
        self.each(Server.wait_well)

    def wait_routes(self, server: Server, timeout: float = 30.0) -> None:
        """Waits until *server* has a route to the other server, and to the client there."""
        peer = self.peer(server)
        wanted = dict.fromkeys((peer.data, self.client(peer).data), "tun1")

        def look() -> bool:
            found = server.routes()
            assert found == wanted, found
            return True

        server.machine.wait_for("routes", look, timeout)

    def wait_all_reach_all(self, timeout: float = 20.0) -> None:
        """Waits until the clients reach each other."""
        one, two = self.clients.values()
        ping.wait_reaches(one.host, two.data, timeout)
        ping.wait_reaches(two.host, one.data, timeout)


def package(suite: str) -> Path:
    """The newest package for *suite* that `make deb` has built.

    Raises:
      AssertionError: there is none.
    """
    found = sorted(
        (PROJECT / "dist").glob(f"cuberouted_*~{RELEASES[suite]}_all.deb"),
        key=lambda path: path.stat().st_mtime,
    )
    assert found, f"no package for {suite} in dist/: run `make deb`"
    return found[-1]
