"""Deliberate mistakes about sessions, peers and routes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from cuberouted.config import Config, PeerConfig
from cuberouted.daemon.client_tracker import ClientTracker
from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.node import Node
from cuberouted.model import MAX_VERSION, LocalRoute, Prefix
from cuberouted.openvpn.damping import KillDamping
from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from cuberouted.peering.adj_rib_in import AdjRibIn
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerActions, RoutesChanged
from cuberouted.peering.messages import Goodbye, Update
from cuberouted.peering.session import PeerSession
from cuberouted.peering.tasks import PeerReceiver
from cuberouted.peering.transport import PeerSocket
from cuberouted.routing import rib
from cuberouted.routing.fib import Fib
from cuberouted.routing.kernel_sync import KernelSync
from cuberouted.routing.local_routes import LocalRoutes
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import Origin, RibRoute, Source
from cuberouted.routing.types import Route
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_state import Place
from tests.simulation.mutations.registry import mutation, replace


@mutation("nodes")
def hold_timer() -> None:
    """the hold timer is ignored."""
    replace(PeerSession, "_hold_timer_expires", property(lambda _: math.inf))


@mutation()
def versions() -> None:
    """the version comparison is reversed."""

    def reversed_(route: RibRoute) -> rib.Key:
        key: rib.Key = original(route)
        return (*key[:2], -key[2], *key[3:])

    original = replace(rib, "precedence", reversed_)


@mutation("nodes")
def listing() -> None:
    """a listing increases the version."""

    def listed_again(
        self: Sessions, listed: dict[Prefix, LocalRoute], position: int
    ) -> SessionUpdate | None:
        update = original(self, listed, position)
        withdrawn = update.withdrawn if update else ()
        return SessionUpdate(self._instance, tuple(listed.values()), withdrawn, complete=True)

    def increased(_self: LocalRoutes, route: LocalRoute, highest: Callable[[Prefix], int]) -> int:
        return min(highest(route.prefix) + 1, MAX_VERSION - 1)

    original = replace(Sessions, "replace", listed_again)
    replace(LocalRoutes, "_version", increased)


@mutation()
def unconfirmed() -> None:
    """an unconfirmed route supersedes a session."""

    def supersedes(best: RibRoute, ours: RibRoute) -> bool:
        changed = msgspec.structs.replace(best.advertisement, confirmed=True)
        return bool(original(best._replace(advertisement=changed), ours))

    original = replace(rib, "supersedes", supersedes)


@mutation("networks")
def gap() -> None:
    """a gap in seq is ignored."""
    replace(AdjRibIn, "_need_snapshot", lambda *_: None)


@mutation("nodes")
def adoption() -> None:
    """adoption is skipped."""

    async def adopt(self: KernelSync, *args: Any) -> object:
        await original(self, *args)
        return {}

    original = replace(KernelSync, "adopt", adopt)


@mutation("nodes")
def early_withdrawal() -> None:
    """adopted routes are removed before the peer has synced."""

    async def start(self: Node, host: Any, servers: Any, adopted: Any) -> None:
        await original(self, host, servers, adopted)
        for target in adopted:
            await self._withdraw_all(Source(Origin.PEER, target.name))

    original = replace(Node, "start", start)


@mutation("nodes")
def first_snapshot() -> None:
    """an empty first snapshot is sent."""

    def init(self: Publisher, *args: Any) -> None:
        original(self, *args)
        replace(self, "_syncing", value=False)

    original = replace(Publisher, "__init__", init)


@mutation("kernels")
def replacing() -> None:
    """a foreign route is replaced."""

    def add(self: FakeKernel, route: Route) -> int:
        self.routes.pop(Place(route.prefix, self.table, self.metric), None)
        return int(original(self, route))

    original = replace(FakeKernel, "_add_route", add)


@mutation("nodes")
def early_timers() -> None:
    """timers are checked before the socket is drained."""

    async def receive(self: PeerReceiver, socket: PeerSocket) -> None:
        socket.subscribe(b"u")
        while True:
            await socket.readable(self.session.deadline)
            if trio.current_time() >= self.session.deadline:
                await self._act(self.session.timer(trio.current_time()), socket)
            await self._drain(socket)

    replace(PeerReceiver, "_receive", receive)


@mutation("nodes")
def goodbye() -> None:
    """a goodbye before a restart is handled as a final one."""

    def leave(self: PeerSession, goodbye: Goodbye, now: float) -> PeerActions:
        final = msgspec.structs.replace(goodbye, restarting=False)
        actions: PeerActions = original(self, final, now)
        return actions

    original = replace(PeerSession, "_goodbye", leave)


@mutation("nodes")
def taken_names() -> None:
    """a name that a refused peer announces counts as taken."""

    def start_peer(self: Daemon, config: PeerConfig, nursery: trio.Nursery) -> None:
        start(self, config, nursery)
        vars(self.peers[config.label].session)["peers"] = self.peers

    def why_refused(self: PeerSession, node: str) -> Any:
        others = [peer.session for peer in vars(self).get("peers", {}).values()]
        taken = any(other is not self and other.node == node for other in others)
        return original(self, node) or ("another peer announces that name" if taken else None)

    start = replace(Daemon, "_start_peer", start_peer)
    original = replace(PeerSession, "_why_refused", why_refused)


@mutation("nodes")
def changed_openvpn() -> None:
    """a changed [openvpn] section withdraws its clients."""

    async def stop_openvpns(self: Daemon, config: Config) -> dict[str, Sessions]:
        for name in await original(self, config):
            routes = tuple(self.node.rib.adj_rib_in(Source(Origin.LOCAL, name)))
            await self.node.update_local(SessionUpdate(name, (), routes, complete=True))
        return {}

    original = replace(Daemon, "_stop_openvpns", stop_openvpns)


@mutation("nodes")
def epochs() -> None:
    """updates of a new epoch are applied to the old one's table."""

    def update(self: AdjRibIn, update: Update) -> tuple[RoutesChanged, ...]:
        self.table.apply(update)
        self.table.epoch = update.epoch
        return (RoutesChanged(self._peer, update.node, update.advertise, update.withdraw),)

    replace(AdjRibIn, "_update", update)


@mutation()
def damping() -> None:
    """kills are not damped."""
    replace(KillDamping, "_is_allowed", lambda *_: True)


@mutation()
def renewal() -> None:
    """a renewed session is not announced."""
    replace(Sessions, "renewed", lambda *_: None)


@mutation()
def names() -> None:
    """a session is superseded by one of another name at its address."""

    def supersedes(best: RibRoute, ours: RibRoute) -> bool:
        changed = msgspec.structs.replace(best.advertisement, name=ours.advertisement.name)
        return bool(original(best._replace(advertisement=changed), ours))

    original = replace(rib, "supersedes", supersedes)


@mutation()
def policy() -> None:
    """the import policy accepts everything."""
    replace(Policy, "refusal", lambda *_: None)


@mutation()
def local_more_specifics() -> None:
    """local prefixes inside another node's network are not installed."""
    replace(rib.Rib, "is_covered", lambda *_: False)


@mutation()
def own_routes() -> None:
    """the route of a client that has connected here is kept."""

    def target(self: Node, prefix: Any) -> Any:
        best = self.rib.best(prefix)
        return original(self, prefix) or (before.get((id(self), prefix)) if best else None)

    def remember(self: Node, prefix: Any) -> Any:
        found = target(self, prefix)
        before[id(self), prefix] = found
        return found

    before: dict[Any, Any] = {}
    original = replace(Node, "target", remember)


@mutation("kernels")
def lost_traces() -> None:
    """routes that a dump lacks are not traced."""
    replace(Fib, "_trace_differences", lambda *_: None)


@mutation()
def moved_traces() -> None:
    """a client that moves is still where it was, in the events."""

    def receive(self: ClientTracker, prefix: Prefix, best: Any, now: float, **more: Any) -> Any:
        known = self._known.get(prefix)
        events = list(original(self, prefix, best, now, **more))
        if known is not None and best is not None and known.node != best.node:
            self._known[prefix] = known
        return events

    original = replace(ClientTracker, "receive", receive)
