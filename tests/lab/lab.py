"""The lab: real OpenVPN servers and clients in network namespaces.

    with Lab() as lab:
        a, b = lab.servers
        one, two = lab.client("host1"), lab.client("host2")
        one.connect(a)
        two.connect(b)

Needs root, /dev/net/tun, and the programs of Debian's openvpn, iproute2, iputils-ping,
nftables and openssl packages. Nothing outside this process's own namespaces is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.lab import pki
from tests.lab.client import Client
from tests.lab.host import Host
from tests.lab.network import Network
from tests.lab.openvpn import PROGRAM, Options
from tests.lab.server import Server

PROGRAMS = {
    PROGRAM: "openvpn",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "openssl": "openssl",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "nft": "nftables",
    "tc": "iproute2",
}

FIRST_CLIENT = 100
"""Clients have numbers from here on in the Internet's subnet; servers those from 1."""


class LabError(Exception):
    """The lab cannot be built on this machine; the message says what is missing."""


def missing() -> list[str]:
    """What this machine lacks for the lab, one phrase each."""
    lacks = [
        f"the program {program} (Debian package {package})"
        for program, package in PROGRAMS.items()
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    ]
    if os.geteuid() != 0:
        lacks.append("root, to make network namespaces")
    if not Path("/dev/net/tun").exists():
        lacks.append("/dev/net/tun (modprobe tun; in a container: --device /dev/net/tun)")
    return lacks


class Lab:
    """Servers, each with a tunnel to every other, and as many clients as are asked for.

    ``start`` False leaves OpenVPN to be started later.
    """

    def __init__(
        self,
        servers: Sequence[str] = ("vpnsrvA", "vpnsrvB"),
        options: Options | None = None,
        *,
        start: bool = True,
    ) -> None:
        self.servers: list[Server] = []
        self.clients: dict[str, Client] = {}
        self._names = servers
        self._options = options or Options()
        self._start = start
        self._network: Network
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Builds it.

        Raises:
          LabError: this machine cannot.
        """
        if lacks := missing():
            raise LabError(f"the lab needs {'; '.join(lacks)}")
        with self._stack:
            self._build()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def internet(self) -> Network:
        """The bridge that connects all of them."""
        return self._network

    @property
    def hosts(self) -> list[Host]:
        """Every machine but the bridge."""
        machines: list[Server | Client] = [*self.servers, *self.clients.values()]
        return [machine.host for machine in machines]

    def start(self) -> None:
        """Starts OpenVPN and the tunnels on every server, and waits until all are up."""
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.ready()

    def client(
        self, name: str, networks: tuple[str, ...] = (), *, twin_of: Client | None = None
    ) -> Client:
        """A new client on a host called *name*, not connected to anything yet.

        *networks* are prefixes behind it, for ``iroute``. A twin has the certificate, and so
        the common name and the address, of another client.
        """
        host = self._host(name)
        host.wait_ready()
        number = len(self.clients) + 1
        self._network.plug(host, FIRST_CLIENT + number)
        client = Client(host, name, number, networks)
        if twin_of:
            client = Client(host, twin_of.name, twin_of.number)
        else:
            for server in self.servers:
                server.allow(name, client.data, networks)
        self.clients[name] = client
        return client

    def _host(self, name: str) -> Host:
        host = Host(name)
        self._stack.callback(host.close)
        return host

    def _build(self) -> None:
        self._network = Network()
        self._stack.callback(self._network.close)
        hosts = [self._host(name) for name in self._names]
        self._network.wait_ready()
        for number, host in enumerate(hosts, 1):
            host.wait_ready()
            server = Server(host, number, self._network.plug(host, number), self._options)
            self._stack.callback(server.daemon.close)
            self.servers.append(server)
        self._link()
        if self._start:
            self.start()

    def _link(self) -> None:
        keys: dict[frozenset[str], str] = {}
        for one in self.servers:
            for other in self.servers:
                if one is not other:
                    key = keys.setdefault(frozenset((one.name, other.name)), pki.static_key())
                    one.tunnel_to(other, key)
