"""What is known of the mesh: a snapshot, and the events since.

Pure; ``now`` is monotonic seconds.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from cuberouted.api.report import ClientRow, Status
from cuberouted.api.report_services import ServiceRow
from cuberouted.events import (
    ClientEvent,
    ClientJoined,
    ClientLeft,
    ClientMoved,
    ClientRenewed,
    Event,
    Level,
)
from cuberouted.model import Prefix

HIGHLIGHTED = 6.0
"""Seconds for which a change of a client is shown."""

MAX_EVENTS = 5000
"""Events that are kept to be scrolled through."""


# 20,000 of them are made at once: a msgspec struct takes a sixth of the time of an attrs class
class Client(msgspec.Struct, frozen=True, gc=False):
    """A client or a network behind one: a row.

    ``since``: the start of its session in Unix seconds; 0: unknown. ``local``: at this node.
    ``change``: what happened to it last, as in "moved from vpnsrvB", at ``changed``; -inf: before
    we looked. ``gone``: it has left, and is only shown for the time of `HIGHLIGHTED`.
    """

    address: str
    name: str
    node: str
    since: int
    local: bool
    sort_key: tuple[int, bytes, int]
    change: str = ""
    changed: float = float("-inf")
    gone: bool = False

    def is_highlighted(self, now: float) -> bool:
        """Whether its change is recent."""
        return now - self.changed < HIGHLIGHTED


class EventRow:
    """An event, with its sentence, which is made when it is shown or searched."""

    __slots__ = ("_text", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The sentence."""
        if self._text is None:
            self._text = str(self.event)
        return self._text


class Mesh:
    """The state of everything, as far as the daemon has told it."""

    def __init__(self) -> None:
        self.status: Status | None = None
        self.services: list[ServiceRow] = []
        self.clients: dict[str, Client] = {}
        self.events: deque[EventRow] = deque(maxlen=MAX_EVENTS)
        self.version = 0  # grows with each change of the clients
        self.received = 0  # number of events, also of those that are not kept any more
        self._gone: deque[tuple[float, str]] = deque()
        self._since_snapshot: dict[str, tuple[ClientEvent, float]] | None = None

    def copy(self) -> Mesh:
        """The same state, which does not change any more."""
        copy = Mesh()
        copy.status, copy.version, copy.received = self.status, self.version, self.received
        copy.services = self.services
        copy.clients, copy.events = dict(self.clients), self.events.copy()
        return copy

    @property
    def node(self) -> str:
        """The name of this node, or an empty string."""
        return self.status.node if self.status else ""

    def restart(self, events: Iterable[Event]) -> None:
        """The daemon is another one: its kept events replace ours."""
        self.events.clear()
        self.events.extend(EventRow(e) for e in events if e.level is not Level.DEBUG)

    def begin_snapshot(self) -> None:
        """A snapshot is being made: what is received from now on may be missing in it."""
        self._since_snapshot = {}

    def finish_snapshot(self, clients: Mapping[str, Client], now: float) -> None:
        """Replace all clients. What has not changed keeps its highlight."""
        late, self._since_snapshot = self._since_snapshot or {}, None
        old = self.clients
        self.clients = {
            address: _with_change(client, old.get(address)) for address, client in clients.items()
        }
        self._gone.clear()
        for event, received in late.values():  # in the order of the latest event of each address
            self._apply(event, received)
        self.version += 1
        self.timer(now)

    def receive(self, event: Event, now: float) -> None:
        """Something has happened."""
        if event.level is Level.DEBUG:
            return
        self.events.append(EventRow(event))
        self.received += 1
        if isinstance(event, ClientJoined | ClientMoved | ClientRenewed | ClientLeft):
            self._apply(event, now)
            self.version += 1
            if self._since_snapshot is not None:
                self._since_snapshot.pop(event.address, None)
                self._since_snapshot[event.address] = event, now

    def timer(self, now: float) -> None:
        """Remove the clients that left some time ago. To be called every now and then."""
        while self._gone and self._gone[0][0] <= now:
            _, address = self._gone.popleft()
            client = self.clients.get(address)
            if client is not None and client.gone and not client.is_highlighted(now):
                del self.clients[address]
                self.version += 1

    def _apply(self, event: ClientEvent, now: float) -> None:
        address = event.address
        old = self.clients.get(address)
        match event:
            case ClientLeft():
                if old is None:
                    return
                changes = {"change": "left", "changed": now, "gone": True}
                self.clients[address] = msgspec.structs.replace(old, **changes)
                self._gone.append((now + HIGHLIGHTED, address))
                return
            case ClientJoined():
                change = "found" if event.found else "joined"
            case ClientMoved():
                change = f"moved from {event.from_node}"
            case ClientRenewed():
                change = "reconnected"
            case _:
                return
        self.clients[address] = Client(
            address=address,
            name=event.client,
            node=event.to_node,
            since=event.since,
            local=event.to_node == event.node,
            sort_key=old.sort_key if old else sort_key(address),
            change=change,
            changed=now,
        )


def client_of(row: ClientRow) -> Client:
    """The client in a row of a snapshot."""
    return Client(
        address=row.address,
        name=row.name,
        node=row.node,
        since=unix_time(row.since),
        local=row.local,
        sort_key=sort_key(row.address),
    )


def unix_time(iso: str) -> int:
    """The Unix seconds of an ISO 8601 time, or 0 if it is none."""
    try:
        return int(dt.datetime.fromisoformat(iso).timestamp())
    except ValueError:
        return 0


def sort_key(address: str) -> tuple[int, bytes, int]:
    """Orders addresses and networks: by family, then numerically."""
    try:
        prefix = Prefix.parse(address)
    except ValueError:
        return 0, address.encode("utf-8", "replace"), 0
    return len(prefix.address), prefix.address, prefix.length


def _with_change(client: Client, old: Client | None) -> Client:
    if old is None or not old.change or old.gone or old.node != client.node:
        return client
    return msgspec.structs.replace(client, change=old.change, changed=old.changed)
