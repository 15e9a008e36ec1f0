"""Shared service addresses: servers that answer at them, clients that ask, and who has them when.

The servers are those of VpnCloud's example: `socat` answers on TCP port 8000 with the host's name.
"""

from __future__ import annotations

import math
import re
import signal
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from tests.lab.client import Client
from tests.lab.lab import Lab
from tests.lab.network import cut
from tests.lab.ping import Gap
from tests.lab.process import Process
from tests.lab.server import Server
from tests.lab.service_client import PORT
from tests.lab.waiting import wait_for

NAME = "db"
ADDRESS = "10.100.100.200"
ADDRESS6 = "fd00:100::200"

CHANGE = re.compile(
    r"^\[(?P<at>\S+)\] \[nsid (?P<namespace>\d+)\](?P<deleted>Deleted )?\d+: \S+ +inet6? "
    r"(?P<address>[0-9a-f.:]+)/",
    re.MULTILINE,
)
"""A line of `ip -tshort -oneline monitor all-nsid address`."""


def section(*lines: str, name: str = NAME, address: str = ADDRESS) -> str:
    """A [service] section of a server's configuration."""
    return "\n".join((f"\n[service {name}]", f"address = {address}", *lines))


class Responder:
    """The servers of the example on one host: they answer with its name, over IPv4 and IPv6."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._processes: list[Process] = []
        self.start()

    def start(self) -> None:
        """Starts them, and waits until they listen."""
        host = self._server.host
        for family in ("tcp4-listen", "tcp6-listen"):
            listen = f"{family}:{PORT},reuseaddr,fork"
            listen += ",ipv6only=1" if family == "tcp6-listen" else ""
            process = host.start(f"socat-{family}", "socat", "-U", listen, "exec:hostname")
            self._processes.append(process)
        wait_for(f"the example's servers on {host.name}", self._listens)

    def _listens(self) -> bool:
        listening = self._server.host.run("ss", "-H", "-l", "-t", "-n", f"sport = {PORT}")
        return len(listening.splitlines()) == len(self._processes)

    def stop(self) -> None:
        """Ends them."""
        while self._processes:
            self._processes.pop().end(signal.SIGTERM)


@attrs.frozen
class Answer:
    """One answered request: when it was asked, when it was answered, and by which server."""

    asked: float
    at: float
    server: str


class Asker:
    """A client that asks at a service address every 20 ms, until `end`."""

    def __init__(self, client: Client, address: str = ADDRESS) -> None:
        self.client = client
        argv = sys.executable, "-m", "tests.lab.service_client", address
        self._process = client.host.start(f"ask-{address}", *argv)

    def answers(self) -> list[Answer]:
        """All answers so far, in the order in which they were asked for."""
        lines = self._process.log.rpartition("\n")[0].splitlines()
        fields = [line.split() for line in lines]
        found = [Answer(float(asked), float(at), server) for asked, at, server in fields]
        return sorted(found, key=lambda answer: answer.asked)

    def wait_answer(self, server: Server, after: float = 0.0, timeout: float = 20.0) -> Answer:
        """The first answer by *server* to a request made after that moment (Unix seconds)."""

        def look() -> list[Answer]:
            answers = self.answers()
            names = [answer.server for answer in answers[-3:]]
            found = [a for a in answers if a.server == server.name and a.asked > after]
            assert found, f"the last answers are by {names}"
            return found

        return wait_for(f"{self.client.name} to be answered by {server.name}", look, timeout)[0]

    def servers(self) -> list[str]:
        """Who answered, in this order; each change is one entry."""
        names = [answer.server for answer in self.answers()]
        return [name for name, before in zip(names, [None, *names], strict=False) if name != before]

    def longest_gap(self, after: float = 0.0, before: float = math.inf) -> Gap:
        """The longest time in which no request was answered.

        It ended after the first moment and began before the second.
        """
        asked = [answer.asked for answer in self.answers()]
        gaps = [gap for gap in map(Gap, asked, asked[1:]) if gap.first > after]
        gaps = [gap for gap in gaps if gap.last < before]
        return max(gaps, key=lambda gap: gap.seconds)

    def end(self) -> None:
        """Stops asking."""
        self._process.end(signal.SIGTERM)


@attrs.frozen
class Change:
    """A server gets or loses a service address: Unix seconds."""

    at: float
    server: str
    address: str
    has_it: bool


@attrs.frozen
class Overlap:
    """A time in which several servers had the address: Unix seconds; None: until now."""

    begin: float
    end: float | None
    servers: frozenset[str]


class AddressWatch:
    """Who gets and loses addresses, on all servers at once.

    One netlink socket, in the bridge's namespace, receives the notifications of all namespaces, in
    the order in which their kernels made them: so two servers that had an address at the same time,
    be it for a microsecond, are seen.
    """

    def __init__(self, lab: Lab, addresses: Iterable[str] = (ADDRESS, ADDRESS6)) -> None:
        self._servers: Mapping[int, str] = {
            lab.internet.namespace_id(server.number): server.name for server in lab.servers
        }
        self._addresses = frozenset(addresses)
        for server in lab.servers:
            assert not self._addresses & set(addresses_of(server)), server.name
        argv = "ip", "-tshort", "-oneline", "monitor", "all-nsid", "address"
        self._monitor = lab.internet.bridge.start("addresses", *argv, env={"TZ": "UTC"})
        self._bridge = lab.internet.bridge
        self._marks = 0
        self._wait_for_mark()

    def changes(self) -> list[Change]:
        """All changes so far, oldest first, without those that change nothing."""
        self._wait_for_mark()
        has: dict[tuple[str, str], bool] = {}
        found = []
        for match in CHANGE.finditer(self._monitor.log):
            server = self._servers.get(int(match["namespace"]))
            if server is None or match["address"] not in self._addresses:
                continue
            key, has_it = (server, match["address"]), match["deleted"] is None
            if has.get(key, False) is not has_it:
                has[key] = has_it
                at = datetime.fromisoformat(match["at"]).replace(tzinfo=UTC).timestamp()
                found.append(Change(at, server, match["address"], has_it))
        return found

    def holders(self, address: str = ADDRESS) -> frozenset[str]:
        """Who has the address now."""
        holders: set[str] = set()
        for change in self.changes():
            if change.address == address:
                (holders.add if change.has_it else holders.discard)(change.server)
        return frozenset(holders)

    def overlaps(self, address: str = ADDRESS) -> list[Overlap]:
        """The times in which more than one server had the address."""
        holders: set[str] = set()
        found: list[Overlap] = []
        for change in self.changes():
            if change.address != address:
                continue
            if len(holders) > 1:
                found[-1] = attrs.evolve(found[-1], end=change.at)
            (holders.add if change.has_it else holders.discard)(change.server)
            if len(holders) > 1:
                found.append(Overlap(change.at, None, frozenset(holders)))
        return found

    def wait_holder(self, *servers: Server, address: str = ADDRESS, timeout: float = 20.0) -> float:
        """Waits until just these servers have the address: Unix seconds of the last change."""
        wanted = frozenset(server.name for server in servers)

        def look() -> bool:
            holders = self.holders(address)
            assert holders == wanted, f"{sorted(holders)} have it"
            return True

        names = " and ".join(sorted(wanted)) or "nobody"
        wait_for(f"{names} to have {address}", look, timeout)
        return max(change.at for change in self.changes() if change.address == address)

    def end(self) -> None:
        """Stops watching."""
        self._monitor.end(signal.SIGTERM)

    def _wait_for_mark(self) -> None:
        """Adds and removes an address until that is reported: all before it has been, too."""

        def look() -> bool:
            self._marks += 1
            mark = f"127.9.{self._marks // 250}.{self._marks % 250}"
            self._bridge.ip(f"address add {mark}/32 dev lo", f"address del {mark}/32 dev lo")
            line = rf"\]Deleted 1: lo +inet {re.escape(mark)}/"
            return re.search(line, self._monitor.log) is not None

        wait_for("ip monitor to report a marker", look)


def addresses_of(server: Server) -> list[str]:
    """The addresses on a server's lo."""
    shown = server.host.run("ip", "-o", "address", "show", "dev", "lo")
    return re.findall(r" inet6? ([0-9a-f.:]+)/", shown)


def lose_power(server: Server) -> None:
    """Cuts the server off, ends all that runs there, and empties what its kernel has."""
    cut(server.host)
    server.host.kill_all()
    server.host.ip("address flush dev lo")


def phases(server: Server, name: str = NAME) -> dict[str, str]:
    """What each node is to the service, as `cuberouted services` on *server* shows it."""
    return {node["node"]: node["phase"] for node in row(server, name)["nodes"]}


def row(server: Server, name: str = NAME) -> dict[str, Any]:
    """One service as `cuberouted services --json` on *server* shows it."""
    rows: list[dict[str, Any]] = server.daemon.ask("services")["services"]
    [found] = [row for row in rows if row["name"] == name]
    return found
