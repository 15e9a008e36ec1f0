"""What happens in the mesh as this node sees it: typed values, each with a sentence for people.

Pure. The log, `monitor`, `history`, `watch`, hooks and the hosts file read these events, from one
`event_ring.EventRing`, and nothing else. An event is created without number, time and node; the
ring fills them in. Addresses and names are text, as people and JSON have them.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Callable
from typing import ClassVar, get_args

import msgspec

from cuberouted.model import Kind
from cuberouted.util.decoding import DECODE_ERRORS

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Level(enum.StrEnum):
    """The severity of an event: the level of its log line. DEBUG: too frequent for the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def severity(self) -> int:
        """The higher, the more severe."""
        return list(Level).index(self)


class RouteTrace(enum.StrEnum):
    """What became of a route in the kernel.

    ADDED, MOVED (to another nexthop), REMOVED: by us, or REMOVED by another program or together
    with its interface. ADOPTED: found at our start and kept. REFUSED: not installed, because a
    foreign route is in the way. SHADOWED: installed, but a foreign route carries its packets.
    """

    ADDED = "added"
    MOVED = "moved"
    REMOVED = "removed"
    ADOPTED = "adopted"
    REFUSED = "refused"
    SHADOWED = "shadowed"


def _tag(name: str) -> str:
    """``ClientMoved`` -> ``client_moved``, ``OpenVPNStateChanged`` -> ``openvpn_state_changed``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("OpenVPN", "Openvpn")).lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag=_tag):
    """Something that happened. ``str(event)`` is its sentence and its log line.

    ``number``: 1, 2, ... since the start of the daemon. ``time``: when it was published.
    ``node``: the node whose daemon saw it. The fields have one meaning in all events:
    ``address`` is an address without length or a network with it, ``client`` a common name,
    ``from_node`` and ``to_node`` where a client was and is, ``peer`` and ``openvpn`` the name in
    the configuration, ``why`` a clause without a full stop, or empty.
    """

    number: int = 0
    time: dt.datetime = EPOCH
    node: str = ""

    LEVEL: ClassVar[Level] = Level.INFO

    @property
    def level(self) -> Level:
        """The level of its log line."""
        return self.LEVEL


Emit = Callable[[Event], None]
"""Publishes an event. It neither waits nor raises."""


# -- clients --


class ClientEvent(Event, frozen=True, kw_only=True):
    """An event about one address of a client, or one network behind it.

    A client with an IPv4 and an IPv6 address has two: each has its own route.
    """

    address: str
    client: str
    kind: Kind = Kind.CLIENT

    @property
    def subject(self) -> str:
        """The client and its address, as a sentence begins."""
        if self.kind is Kind.NETWORK:
            return f"network {self.address} behind {self.client or '(no name)'}"
        return f"{self.client} ({self.address})" if self.client else self.address


class ClientJoined(ClientEvent, frozen=True, kw_only=True):
    """A client that no node had is connected to ``to_node``.

    ``since``: the start of the session in Unix seconds of that node's clock, or 0 if unknown.
    ``found``: the session is older than our news of it: the client did not connect just now.
    ``routed_after``: seconds from the news of the session to the kernel's acknowledgement of the
    route, both here; None if no route was needed or none could be installed.
    """

    to_node: str
    since: int = 0
    found: bool = False
    routed_after: float | None = None

    def __str__(self) -> str:
        what = "found at" if self.found else "joined at"
        return f"{self.subject} {what} {self.to_node}{_routed(self.routed_after)}"


class ClientMoved(ClientEvent, frozen=True, kw_only=True):
    """A client has roamed from one node to another. The other fields: see `ClientJoined`."""

    from_node: str
    to_node: str
    since: int = 0
    routed_after: float | None = None

    def __str__(self) -> str:
        route = _routed(self.routed_after)
        return f"{self.subject} moved {self.from_node} -> {self.to_node}{route}"


class ClientRenewed(ClientEvent, frozen=True, kw_only=True):
    """A client has connected again to the node where it was."""

    to_node: str
    since: int = 0

    def __str__(self) -> str:
        return f"{self.subject} reconnected at {self.to_node}"


class ClientLeft(ClientEvent, frozen=True, kw_only=True):
    """A client is gone, and did not appear elsewhere within the grace time.

    ``why``: empty if it left by itself, else as in "peer vpnsrvB is down".
    """

    from_node: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.subject} left {self.from_node}{_because(self.why)}"


class ClientKilled(ClientEvent, frozen=True, kw_only=True):
    """A session on this node was ended by us. ``openvpn``: of which OpenVPN process."""

    openvpn: str
    cid: int
    why: str

    def __str__(self) -> str:
        return (
            f"{_label('openvpn', self.openvpn)}: killing the session of {self.subject},"
            f" client id {self.cid}: {self.why}"
        )


class DisconnectRequested(Event, frozen=True, kw_only=True):
    """A user asked to end a client's sessions. ``by``: who; ``at_node``: where it was connected."""

    client: str
    at_node: str
    by: str

    def __str__(self) -> str:
        return f"disconnect of {self.client} at {self.at_node} requested by {self.by}"


class PoolConflictBegan(Event, frozen=True, kw_only=True):
    """Two clients have one address: the address pools of two servers overlap."""

    LEVEL: ClassVar[Level] = Level.WARNING

    address: str
    client: str
    other_client: str
    to_node: str
    other_node: str

    def __str__(self) -> str:
        return (
            f"{self.address} has two clients: {self.client} at {self.to_node} and"
            f" {self.other_client} at {self.other_node}: their address pools overlap"
        )


class PoolConflictEnded(Event, frozen=True, kw_only=True):
    """An address has one client again."""

    address: str

    def __str__(self) -> str:
        return f"{self.address} has one client again"


class PrefixRefused(Event, frozen=True, kw_only=True):
    """The policy did not accept a prefix. ``source``: as in "peer vpnsrvB" or "openvpn udp"."""

    LEVEL: ClassVar[Level] = Level.WARNING

    source: str
    address: str
    why: str

    def __str__(self) -> str:
        return f"{self.source}: {self.address} refused: {self.why}"


# -- routes --


class RouteChanged(Event, frozen=True, kw_only=True):
    """A route to another node has changed in the kernel.

    ``via``: the peer, or the OpenVPN process as "openvpn NAME", to which it leads or led; empty
    if unknown. REFUSED and SHADOWED have a ``why``.
    """

    LEVEL: ClassVar[Level] = Level.DEBUG

    address: str
    trace: RouteTrace
    via: str = ""
    why: str = ""

    def __str__(self) -> str:
        lost = self.trace in (RouteTrace.REMOVED, RouteTrace.REFUSED)
        via = f" {'from' if lost else 'to'} {self.via}" if self.via else ""
        return f"route {self.address} {self.trace}{'' if lost else via}{_because(self.why)}"


class RouteConflictBegan(Event, frozen=True, kw_only=True):
    """A route of ours is not installed, because a foreign one is in the way."""

    LEVEL: ClassVar[Level] = Level.WARNING

    address: str
    why: str

    def __str__(self) -> str:
        return f"route {self.address}: {self.why}"


class RouteConflictEnded(Event, frozen=True, kw_only=True):
    """A route that was refused is installed, or not wanted any more."""

    address: str

    def __str__(self) -> str:
        return f"route {self.address}: no longer in conflict"


class ForeignRouteConflictBegan(Event, frozen=True, kw_only=True):
    """A foreign route carries packets of the mesh elsewhere. ``address``: its destination."""

    LEVEL: ClassVar[Level] = Level.WARNING

    address: str
    why: str

    def __str__(self) -> str:
        return f"foreign route {self.why}"


class ForeignRouteConflictEnded(Event, frozen=True, kw_only=True):
    """A foreign route is gone, or does not matter any more."""

    address: str
    why: str

    def __str__(self) -> str:
        return f"foreign route {self.why}: no longer in the way"


class RoutesRestored(Event, frozen=True, kw_only=True):
    """Another program had deleted routes or rules of ours. They are installed again.

    ``shown``: the destinations of the first routes.
    """

    LEVEL: ClassVar[Level] = Level.WARNING

    routes: int
    rules: int
    shown: tuple[str, ...] = ()

    def __str__(self) -> str:
        missing = []
        if self.routes:
            more = ", ..." if self.routes > len(self.shown) else ""
            missing.append(f"{_count(self.routes, 'route')} ({', '.join(self.shown)}{more})")
        if self.rules:
            missing.append(_count(self.rules, "rule"))
        what = " and ".join(missing)
        return f"kernel: another program had deleted {what} of ours; installed again"


# -- peers, OpenVPN, this node --


class PeerStateChanged(Event, frozen=True, kw_only=True):
    """A peer's state. ``known_as``: its name with the address that stands for it, for people.

    ``count``: of a peer that changes its state very often, how many changes this one stands for.
    """

    peer: str
    known_as: str
    old: str
    new: str
    why: str
    count: int = 1

    @property
    def level(self) -> Level:
        """INFO for the states of normal operation."""
        return Level.INFO if self.new in {"syncing", "up", "restarting"} else Level.WARNING

    def __str__(self) -> str:
        return f"peer {self.known_as}: {self.old} -> {self.new}, {self.why}{_more(self.count)}"


class PeerWarning(Event, frozen=True, kw_only=True):
    """Something of a peer was not accepted, or did not arrive.

    ``count``: how often since the last event of its kind that was published, this one included.
    """

    LEVEL: ClassVar[Level] = Level.WARNING

    peer: str
    why: str
    count: int = 1

    def __str__(self) -> str:
        return f"peer {self.peer}: {self.why}{_more(self.count)}"


class ConnectionRejected(Event, frozen=True, kw_only=True):
    """Connections to our publishing socket were rejected.

    ``count``: how many since the last such event, this one included. ``why``: of this one.
    """

    LEVEL: ClassVar[Level] = Level.WARNING

    why: str
    count: int = 1

    def __str__(self) -> str:
        return f"rejected {self.why}{_more(self.count)}"


class ServiceMoved(Event, frozen=True, kw_only=True):
    """Packets to a shared service address go to another node, as this node sees it.

    ``from_node``, ``to_node``: empty if nobody has or had it. ``why``: of the old holder's loss.
    """

    service: str
    address: str
    from_node: str
    to_node: str
    why: str = ""

    @property
    def level(self) -> Level:
        """WARNING where nobody has it."""
        return Level.INFO if self.to_node else Level.WARNING

    def __str__(self) -> str:
        subject, why = f"service {self.service} ({self.address})", _because(self.why)
        if not self.to_node:
            return f"{subject}: nobody has it; it was at {self.from_node}{why}"
        if not self.from_node:
            return f"{subject} is at {self.to_node}{why}"
        return f"{subject} moved {self.from_node} -> {self.to_node}{why}"


class ServiceChecked(Event, frozen=True, kw_only=True):
    """The check of a service on this node has another result than before."""

    service: str
    healthy: bool
    why: str = ""

    @property
    def level(self) -> Level:
        """WARNING where it fails."""
        return Level.INFO if self.healthy else Level.WARNING

    def __str__(self) -> str:
        result = "succeeds" if self.healthy else "fails"
        return f"service {self.service}: its check {result} here{_because(self.why)}"


class NodeStateChanged(Event, frozen=True, kw_only=True):
    """A node is active, draining or in maintenance: this one, or a peer that has said so.

    ``of_node``: which. ``by``: who did it. ``why``: the reason that was given, or empty.
    ``count``: of a peer that changes its state very often, how many changes this one stands for.
    """

    of_node: str
    old: str
    new: str
    by: str = ""
    why: str = ""
    count: int = 1

    def __str__(self) -> str:
        by = f", by {self.by}" if self.by else ""
        more = _more(self.count)
        return f"node {self.of_node}: {self.old} -> {self.new}{by}{_because(self.why)}{more}"


class ClientSentOn(Event, frozen=True, kw_only=True):
    """OpenVPN was told to send a client of this node on to the next server of its list."""

    client: str
    address: str
    openvpn: str
    cid: int
    why: str

    def __str__(self) -> str:
        subject = f"{self.client} ({self.address})" if self.client else self.address
        return f"{_label('openvpn', self.openvpn)}: sending {subject} on: {self.why}"


class DrainFinished(Event, frozen=True, kw_only=True):
    """Every client that was here has been sent on. Counts of clients: see `DrainReport`."""

    clients: int
    moved: int
    came_back: int
    left: int

    def __str__(self) -> str:
        return (
            f"drained: {self.moved} of {_count(self.clients, 'client')} moved,"
            f" {self.came_back} came back, {self.left} left"
        )


class OpenVPNStateChanged(Event, frozen=True, kw_only=True):
    """The state of the connection to an OpenVPN process. ``why`` is empty where all is well."""

    openvpn: str
    old: str
    new: str
    why: str

    @property
    def level(self) -> Level:
        """INFO only where all is well."""
        return Level.INFO if self.new == "connected" and not self.why else Level.WARNING

    def __str__(self) -> str:
        changed = self.old != self.new
        change = f"{self.old} -> {self.new}" if changed else f"still {self.new}"
        return f"{_label('openvpn', self.openvpn)}: {change}, {self.why or 'all is well'}"


class OpenVPNWarningBegan(Event, frozen=True, kw_only=True):
    """Something is wrong with what an OpenVPN process lists. ``what``: which kind of thing."""

    LEVEL: ClassVar[Level] = Level.WARNING

    openvpn: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{_label('openvpn', self.openvpn)}: {self.why}"


class OpenVPNWarningEnded(Event, frozen=True, kw_only=True):
    """What `OpenVPNWarningBegan` told is over."""

    openvpn: str
    what: str

    def __str__(self) -> str:
        return f"{_label('openvpn', self.openvpn)}: no longer: {self.what}"


class OpenVPNWarning(Event, frozen=True, kw_only=True):
    """Something about an OpenVPN process that happened once."""

    LEVEL: ClassVar[Level] = Level.WARNING

    openvpn: str
    why: str

    def __str__(self) -> str:
        return f"{_label('openvpn', self.openvpn)}: {self.why}"


class NodeStarted(Event, frozen=True, kw_only=True):
    """The daemon runs. ``web_listen``: the address and port of the web listener, or empty."""

    version: str
    control_socket: str
    web_listen: str = ""

    def __str__(self) -> str:
        web = f", web listener {self.web_listen}" if self.web_listen else ""
        return (
            f"node {self.node}: running; cuberouted {self.version},"
            f" control socket {self.control_socket}{web}"
        )


class GracefulRestartOrdered(Event, frozen=True, kw_only=True):
    """A stop of the daemon within ``within`` seconds keeps the routes. ``by``: who ordered it.

    0 seconds: an earlier order is revoked.
    """

    within: float
    by: str

    def __str__(self) -> str:
        if not self.within:
            return f"graceful restart revoked by {self.by}"
        return (
            f"graceful restart ordered by {self.by}:"
            f" a stop within {self.within:g} s keeps the routes"
        )


class NodeStopping(Event, frozen=True, kw_only=True):
    """The daemon stops in an orderly way."""

    why: str

    def __str__(self) -> str:
        return f"{self.why}: stopping"


class Reloaded(Event, frozen=True, kw_only=True):
    """A new configuration is in force."""

    path: str

    def __str__(self) -> str:
        return f"{self.path}: reloaded"


class ReloadRefused(Event, frozen=True, kw_only=True):
    """A new configuration is wrong, or needs a restart. The old one stays in force."""

    LEVEL: ClassVar[Level] = Level.ERROR

    why: str

    def __str__(self) -> str:
        return f"reload refused: {self.why}"


class InterfacesChanged(Event, frozen=True, kw_only=True):
    """Interfaces of the configuration have appeared or are missing."""

    missing: tuple[str, ...]

    def __str__(self) -> str:
        waiting = f"waiting for {', '.join(self.missing)}"
        return f"interfaces: {waiting if self.missing else 'all are up'}"


class AllowedNetworksChanged(Event, frozen=True, kw_only=True):
    """Clients are accepted in these networks."""

    networks: tuple[str, ...]

    def __str__(self) -> str:
        return f"allowed networks: {', '.join(self.networks) or 'none'}"


class NodeProblem(Event, frozen=True, kw_only=True):
    """An error of this node: of the kernel, an address to listen on, a command of a hook, ...

    ``what``: the part, in lower case: "kernel", "hook", "control socket", ....
    """

    LEVEL: ClassVar[Level] = Level.WARNING

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class NodeProblemEnded(Event, frozen=True, kw_only=True):
    """The part ``what`` of `NodeProblem` works again. Not every problem has such an end."""

    what: str

    def __str__(self) -> str:
        return f"{self.what}: works again"


class EventsLost(Event, frozen=True, kw_only=True):
    """A reader was too slow: ``count`` events before this one are not kept any more."""

    LEVEL: ClassVar[Level] = Level.WARNING

    count: int

    def __str__(self) -> str:
        return f"{_count(self.count, 'event')} lost: the reader was too slow"


AnyEvent = (
    ClientJoined
    | ClientMoved
    | ClientRenewed
    | ClientLeft
    | ClientKilled
    | DisconnectRequested
    | PoolConflictBegan
    | PoolConflictEnded
    | PrefixRefused
    | RouteChanged
    | RouteConflictBegan
    | RouteConflictEnded
    | ForeignRouteConflictBegan
    | ForeignRouteConflictEnded
    | RoutesRestored
    | PeerStateChanged
    | PeerWarning
    | ConnectionRejected
    | ServiceMoved
    | ServiceChecked
    | NodeStateChanged
    | ClientSentOn
    | DrainFinished
    | OpenVPNStateChanged
    | OpenVPNWarningBegan
    | OpenVPNWarningEnded
    | OpenVPNWarning
    | NodeStarted
    | GracefulRestartOrdered
    | NodeStopping
    | Reloaded
    | ReloadRefused
    | InterfacesChanged
    | AllowedNetworksChanged
    | NodeProblem
    | NodeProblemEnded
    | EventsLost
)
"""Every event, as readers decode it."""

TYPES = tuple(str(cls.__struct_config__.tag) for cls in get_args(AnyEvent))
"""The type of every event, as in JSON."""

_decoder = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """One line of JSON with its newline. ``text`` is the sentence, ``level`` the severity."""
    extra = msgspec.json.encode({"level": event.level, "text": str(event)})
    return msgspec.json.encode(event)[:-1] + b"," + extra[1:] + b"\n"


def decode(line: bytes) -> AnyEvent:
    """The event in a line of `encode`.

    Raises:
      ValueError: malformed, or an event of another version of cuberouted.
    """
    try:
        event: AnyEvent = _decoder.decode(line)
    except DECODE_ERRORS as error:
        raise ValueError(str(error)) from None
    return event


def _routed(after: float | None) -> str:
    return "" if after is None else f", routed after {after * 1000:.1f} ms"


def _because(why: str) -> str:
    return f": {why}" if why else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _more(count: int) -> str:
    return "" if count == 1 else f" (and {count - 1} more since the last such message)"


def _label(what: str, name: str) -> str:
    return f"{what} {name}".rstrip()
