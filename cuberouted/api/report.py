"""What the daemon and the commands report, as values. docs/schemas/ has their JSON form.

Pure. Times are in seconds; absolute times are ISO 8601 UTC.
"""

from __future__ import annotations

import datetime as dt

import msgspec


class OpenVPNRow(msgspec.Struct):
    """One OpenVPN process of this host.

    ``state``: see `OpenVPNState`, or "standby": it does not have to run here, because its service
    is not here. ``version`` is None while unknown. ``clients``: number that are shared.
    ``counted``: number that OpenVPN counts, or None while unknown.
    """

    name: str
    state: str
    version: str | None
    clients: int
    detail: str = ""
    counted: int | None = None

    @property
    def well(self) -> bool:
        """Whether it is as it should be."""
        return self.state == "standby" or (self.state == "connected" and not self.detail)

    @property
    def shared(self) -> str:
        """How many clients are shared, and of how many, if not of all."""
        if self.counted is None or self.counted <= self.clients:
            return str(self.clients)
        return f"{self.clients} of {self.counted}"


class Maintained(msgspec.Struct, kw_only=True):
    """Whether a node takes clients, as it says itself.

    ``maintenance``: active, draining or maintenance; empty of a peer that has not been heard.
    ``by``: who has changed it last, ``since``: when, ``until``: when the node becomes active by
    itself, ``reason``: why; empty: never, or not given.
    """

    maintenance: str = "active"
    by: str = ""
    since: str = ""
    until: str = ""
    reason: str = ""

    @property
    def takes_clients(self) -> bool:
        """Whether it is active, or not known to be anything else."""
        return self.maintenance in {"", "active"}


class PeerRow(Maintained):
    """One peer.

    ``last_heard``: seconds since its last message, or None. ``encrypted``: by CURVE. ``refused``:
    number of its messages and prefixes that were not accepted, since the start.
    ``known_as``: its name in the log and in sentences. ``refused_prefixes``: those that it
    advertises now and the policy refuses.
    ``unreceived_snapshots``: connections in a row that ended before it had ours.
    """

    name: str
    state: str
    clients: int
    last_heard: float | None
    detail: str = ""
    encrypted: bool = False
    refused: int = 0
    known_as: str = ""
    refused_prefixes: int = 0
    unreceived_snapshots: int = 0


class RouteCounts(msgspec.Struct):
    """Numbers of desired routes, of installed ones, and of those that are not effective."""

    desired: int
    installed: int
    conflicts: int


class Status(Maintained):
    """`cuberouted status --json`.

    ``problems``: what is wrong, and what to do, a sentence each. ``warnings``: what may be wrong.
    ``keeps_routes_for``: seconds in which a stop keeps the routes, after `graceful-restart`.
    """

    node: str
    uptime: float
    openvpn: list[OpenVPNRow]
    peers: list[PeerRow]
    routes: RouteCounts
    problems: list[str] = []
    rejected_connections: int = 0
    warnings: list[str] = []
    keeps_routes_for: float | None = None

    @property
    def well(self) -> bool:
        """Whether every OpenVPN process is well, every peer is up, and there is no problem."""
        return (
            all(o.well for o in self.openvpn)
            and all(p.state == "up" for p in self.peers)
            and not self.problems
        )


class ClientRow(msgspec.Struct):
    """A client, or a network behind one."""

    address: str
    node: str
    name: str
    kind: str
    since: str
    local: bool


class Clients(msgspec.Struct):
    """`cuberouted clients --json`."""

    clients: list[ClientRow]


class RouteRow(msgspec.Struct):
    """An installed route. What only the daemon knows is None if it does not run."""

    destination: str
    node: str | None
    interface: str | None
    gateway: str | None
    kind: str | None
    name: str | None
    age: float | None


class Routes(msgspec.Struct):
    """`cuberouted dump-routes --json`."""

    node: str | None
    routes: list[RouteRow]


class RouteInfo(msgspec.Struct):
    """What only the daemon knows of an installed route."""

    node: str
    kind: str
    name: str
    age: float


class RouteInfos(msgspec.Struct):
    """The daemon's part of `dump-routes`, by destination."""

    node: str
    routes: dict[str, RouteInfo]


class NodeRow(Maintained):
    """A node of the mesh, as this one sees it.

    ``state``: of a peer, or ``running``. ``clients``: number of addresses whose client is there.
    ``last_heard``: seconds since its last message; ``address`` and ``interface``: of the tunnel to
    it; ``encrypted``: by CURVE; all None for this node. ``openvpn``: the processes of this node.
    ``counted``: number of clients that its OpenVPN processes count, ``capacity``: how many it
    should have at most, 0: not configured; ``remotes``: where clients reach it, as in OpenVPN's
    option ``remote``. ``available``: clients may be sent there: it is up, and active.
    """

    name: str
    local: bool
    state: str
    clients: int
    last_heard: float | None
    address: str | None
    interface: str | None
    encrypted: bool | None
    openvpn: list[OpenVPNRow] = []
    counted: int | None = None
    capacity: int = 0
    remotes: list[str] = []
    available: bool = False


class Nodes(msgspec.Struct):
    """`cuberouted nodes --json`. ``node``: the name of this one."""

    node: str
    nodes: list[NodeRow]

    @property
    def well(self) -> bool:
        """Whether every node is up."""
        return all(node.state in {"up", "running"} for node in self.nodes)


Report = Status | Clients | Routes | Nodes
"""What the listing commands print."""


def iso_time(seconds: float) -> str:
    """A Unix time in ISO 8601; times after the year 9999 are printed as its last second."""
    last = 253_402_300_799
    return dt.datetime.fromtimestamp(min(seconds, last), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pluralize(number: int, noun: str) -> str:
    """``1 client``, ``2 clients``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
