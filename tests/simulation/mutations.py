"""Deliberate mistakes in the daemon: each has to be found by the simulation.

Each function spoils the classes of this process, for good; so it runs in a process of its
own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import msgspec
import trio

from cuberouted.daemon.node import Node
from cuberouted.model import LocalRoute
from cuberouted.openvpn.damping import KillDamping
from cuberouted.peering.adj_rib_in import AdjRibIn
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerActions, RoutesChanged
from cuberouted.peering.messages import Goodbye, Update
from cuberouted.peering.session import PeerSession
from cuberouted.peering.tasks import PeerReceiver
from cuberouted.peering.transport import PeerSocket
from cuberouted.routing import rib
from cuberouted.routing.kernel_sync import KernelSync
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import Origin, Rib, RibRoute, Source
from cuberouted.routing.types import Route
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_state import Place


class Mutation(NamedTuple):
    """A mistake; the faults of *theme* are the ones that bring it to light soonest."""

    spoil: Callable[[], None]
    theme: str


MUTATIONS: dict[str, Mutation] = {}


def mutation(theme: str = "") -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a function under the first line of its docstring."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[(function.__doc__ or "").strip(".")] = Mutation(function, theme)
        return function

    return register


def _put(owner: object, name: str, value: object) -> Any:
    """Put *value* in the place of what *owner* has by that name, which is returned."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return before


@mutation("nodes")
def hold_timer() -> None:
    """the hold timer is ignored."""
    _put(PeerSession, "_hold_timer_expires", property(lambda _: math.inf))


@mutation()
def versions() -> None:
    """the version comparison is reversed."""

    def reversed_(claim: RibRoute) -> tuple[int, str, str, str]:
        return -right(claim)[0], *right(claim)[1:]

    right = _put(rib, "precedence", reversed_)


@mutation("nodes")
def listing() -> None:
    """a listing bumps the version."""

    def bumped(self: Rib, source: Source, known: LocalRoute | None, claim: LocalRoute) -> int:
        return int(right(self, source, known, attrs.evolve(claim, announced=True)))

    right = _put(Rib, "_version", bumped)


@mutation()
def unconfirmed() -> None:
    """an unconfirmed claim drops a session."""

    def supersedes(best: RibRoute, ours: RibRoute) -> bool:
        said = msgspec.structs.replace(best.advertisement, confirmed=True)
        return bool(right(best._replace(advertisement=said), ours))

    right = _put(rib, "supersedes", supersedes)


@mutation("networks")
def gap() -> None:
    """a gap in seq is ignored."""
    _put(AdjRibIn, "_need_snapshot", lambda *_: None)


@mutation("nodes")
def adoption() -> None:
    """adoption is skipped."""

    async def adopt(self: KernelSync, *args: Any) -> object:
        await right(self, *args)
        return {}

    right = _put(KernelSync, "adopt", adopt)


@mutation("nodes")
def impatience() -> None:
    """adopted routes are removed before the peer has synced."""

    async def begin(self: Node, surroundings: Any, servers: Any, adopted: Any) -> None:
        await right(self, surroundings, servers, adopted)
        for target in adopted:
            await self._withdraw_all(Source(Origin.PEER, target.name))

    right = _put(Node, "begin", begin)


@mutation("nodes")
def first_snapshot() -> None:
    """an empty first snapshot is sent."""

    def init(self: Publisher, *args: Any) -> None:
        right(self, *args)
        self._syncing = False

    right = _put(Publisher, "__init__", init)


@mutation("kernels")
def replacing() -> None:
    """a foreign route is replaced."""

    def add(self: FakeKernel, route: Route) -> int:
        self.routes.pop(Place(route.prefix, self.table, self.metric), None)
        return int(right(self, route))

    right = _put(FakeKernel, "_add_route", add)


@mutation("nodes")
def hasty_timers() -> None:
    """timers are judged before the socket is drained."""

    async def receive(self: PeerReceiver, socket: PeerSocket) -> None:
        socket.subscribe(b"u")
        while True:
            await socket.readable(self.session.deadline)
            if trio.current_time() >= self.session.deadline:
                await self._do(self.session.timer(trio.current_time()), socket)
            await self._drain(socket)

    _put(PeerReceiver, "_receive", receive)


@mutation("nodes")
def farewell() -> None:
    """a goodbye before a restart is taken for one for good."""

    def leave(self: PeerSession, goodbye: Goodbye, now: float) -> PeerActions:
        final = msgspec.structs.replace(goodbye, restarting=False)
        actions: PeerActions = right(self, final, now)
        return actions

    right = _put(PeerSession, "_goodbye", leave)


@mutation("nodes")
def epochs() -> None:
    """updates of a new epoch go into the old one's table."""

    def update(self: AdjRibIn, update: Update) -> tuple[RoutesChanged, ...]:
        self.table.apply(update)
        self.table.epoch = update.epoch
        return (RoutesChanged(self._peer, update.node, update.advertise, update.withdraw),)

    _put(AdjRibIn, "_update", update)


@mutation()
def damping() -> None:
    """a name is dropped as often as it comes."""
    _put(KillDamping, "_allowed", lambda *_: True)


@mutation()
def names() -> None:
    """a session is dropped for one of another name at its address."""

    def supersedes(best: RibRoute, ours: RibRoute) -> bool:
        said = msgspec.structs.replace(best.advertisement, name=ours.advertisement.name)
        return bool(right(best._replace(advertisement=said), ours))

    right = _put(rib, "supersedes", supersedes)


@mutation()
def gullible() -> None:
    """whatever a peer says is believed."""
    _put(Policy, "refusal", lambda *_: None)


@mutation()
def own_routes() -> None:
    """a route is kept for a client that has come here."""

    def target(self: Node, prefix: Any) -> Any:
        best = self.rib.best(prefix)
        return right(self, prefix) or (before.get((id(self), prefix)) if best else None)

    def remember(self: Node, prefix: Any) -> Any:
        found = target(self, prefix)
        before[id(self), prefix] = found
        return found

    before: dict[Any, Any] = {}
    right = _put(Node, "target", remember)
