"""Replays the events of one daemon: they have to give exactly the state that it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from cuberouted.daemon.daemon import Daemon
from cuberouted.events import (
    ClientEvent,
    ClientJoined,
    ClientLeft,
    ClientMoved,
    ClientRenewed,
    Event,
    OpenVPNStateChanged,
    PeerStateChanged,
    PoolConflictBegan,
    PoolConflictEnded,
    RouteChanged,
    RouteConflictBegan,
    RouteConflictEnded,
    RouteTrace,
)
from cuberouted.model import Kind, printable_name
from cuberouted.routing.rib import ADOPTED_VERSION

Client = tuple[str, str]
"""Common name and node."""


class Replay:
    """The state that the events of *daemon* give. *fail* is called where one contradicts it."""

    def __init__(self, daemon: Daemon, fail: Callable[[str], None]) -> None:
        self.clients: dict[str, Client] = {}
        self.routes: dict[str, str] = {}
        self.refused: set[str] = set()
        self.conflicts: set[str] = set()
        self.peers: dict[str, str] = {}
        self.openvpns: dict[str, str] = {}
        self._daemon = daemon
        self._fail = fail
        self._last = 0
        daemon.events.listeners.append(self.receive)

    def receive(self, event: Event) -> None:
        """Apply *event*."""
        if event.number != self._last + 1:
            self._fail(f"event {event.number} follows event {self._last}")
        self._last = event.number
        wrong = self._apply(event)
        if wrong:
            self._fail(f"{event.node}: {event} ({wrong})")

    def _apply(self, event: Event) -> str:
        match event:
            case ClientEvent():
                return self._apply_client(event)
            case RouteChanged():
                return self._apply_route(event)
            case RouteConflictBegan(address=address) | RouteConflictEnded(address=address):
                began = isinstance(event, RouteConflictBegan)
                return _toggle(self.refused, address, began=began)
            case PoolConflictBegan(address=address) | PoolConflictEnded(address=address):
                began = isinstance(event, PoolConflictBegan)
                return _toggle(self.conflicts, address, began=began)
            case PeerStateChanged(peer=peer, old=old, new=new):
                before = self.peers.get(peer, "down")
                self.peers[peer] = new
                return "" if before == old else f"it was {before}"
            case OpenVPNStateChanged(openvpn=openvpn, new=new):
                self.openvpns[openvpn] = new
        return ""

    def _apply_client(self, event: ClientEvent) -> str:
        before = self.clients.pop(event.address, None)
        after: str | None = None
        expected: str | None = None
        match event:
            case ClientJoined(to_node=node):
                after = node
            case ClientMoved(from_node=expected, to_node=after):
                pass
            case ClientRenewed(to_node=node):
                after = expected = node
            case ClientLeft(from_node=expected):
                pass
            case _:  # a kill: what becomes of it is another event
                after = expected = before and before[1]
        if after is not None:
            self.clients[event.address] = event.client, after
        known = None if expected is None else (event.client, expected)
        return "" if before == known else f"it was {before}"

    def _apply_route(self, event: RouteChanged) -> str:
        there = event.address in self.routes
        match event.trace:
            case RouteTrace.ADDED | RouteTrace.ADOPTED:
                self.routes[event.address] = event.via
                return "it was there already" if there else ""
            case RouteTrace.MOVED:
                self.routes[event.address] = event.via
            case RouteTrace.REMOVED:
                self.routes.pop(event.address, None)
            case RouteTrace.REFUSED:
                return "it is there" if there else ""
        return "" if there else "it was not there"

    def differences(self) -> Iterator[str]:
        """Where the daemon's state is another one, after everything has settled."""
        daemon, node = self._daemon, self._daemon.node
        rib, fib = node.rib, node.kernel_sync.fib
        if node.event_publisher.deadline != inf:
            yield "a departure is held back for ever"
        clients = {
            prefix.short: (printable_name(best.advertisement.name), best.node)
            for prefix, best in rib.best_routes()
            if best.advertisement.kind in (Kind.CLIENT, Kind.NETWORK)
            and best.advertisement.version != ADOPTED_VERSION
        }
        targets = {prefix: node.target(prefix) for prefix in fib.installed}
        routes = {prefix.short: target.name for prefix, target in targets.items() if target}
        conflicts = {best.advertisement.prefix.short for best, _ in rib.address_conflicts()}
        peers = {name: str(peer.session.state) for name, peer in daemon.peers.items()}
        replayed_peers = {name: self.peers.get(name, "down") for name in daemon.peers}
        for what, replayed, true in (
            ("clients", self.clients, clients),
            ("routes", self.routes, routes),
            ("refused routes", self.refused, {prefix.short for prefix in fib.refused()}),
            ("address conflicts", self.conflicts, conflicts),
            ("peers", replayed_peers, peers),
        ):
            if replayed != true:
                yield f"{what} by the events {replayed}, by the daemon {true}"
        for name, openvpn in daemon.openvpns.items():
            state = openvpn.source.status().state
            if state == "connected" and self.openvpns.get(name) != state:
                yield f"openvpn {name} by the events {self.openvpns.get(name)}, it is {state}"


def _toggle(begun: set[str], address: str, *, began: bool) -> str:
    if began == (address in begun):
        return "it had begun already" if began else "it had not begun"
    (begun.add if began else begun.remove)(address)
    return ""
