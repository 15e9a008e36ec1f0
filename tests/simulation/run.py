"""One run: a seed's schedule, and its end."""

from __future__ import annotations

import gc
import hashlib
import traceback
from collections import Counter
from collections.abc import Callable

import attrs
import trio
from trio.testing import MockClock

from cuberouted.model import Prefix
from tests.simulation.devices import Device
from tests.simulation.faults import FAULTS, themes
from tests.simulation.invariants import Guard
from tests.simulation.oracle import complaints, installed, is_blocked
from tests.simulation.plan import Plan, plan
from tests.simulation.world import Node, World

REGULAR = 65.0
"""Seconds until a look that nothing has hinted at has mended whatever is wrong."""

MOST_PATIENCE = 10
"""How many hold times may pass until a snapshot is asked for again."""


AT_ONCE = 0.1
"""Seconds in which a client that has moved is reached again from everywhere."""

DROPPED = 20.0
"""Seconds in which a superseded session is dropped: two listings of slow OpenVPNs, and the five
that `client-kill` takes."""

MOST_PASSES = 20_000
"""Turns of trio's loop at one and the same time, in which a whole mesh finds its peace."""


@attrs.frozen
class Result:
    """``failure``: what was broken first, or empty. ``print``: of all that happened."""

    seed: int
    failure: str
    seconds: float
    happened: Counter[str]
    fingerprint: str


def simulate(seed: int, say: Callable[[str], None] = lambda _: None, theme: str = "") -> Result:
    """The run of *seed*. *say* is given every line of the trace.

    *theme*: only the faults in this module, if it is given; that is another run.
    """
    digest = hashlib.sha256()

    def note(line: str) -> None:
        digest.update(line.encode())
        say(line)

    kinds = {name: kinds for name, kinds in themes().items() if theme in name}
    run = Run(plan(seed, kinds), note)
    gc.disable()  # nothing may depend on when it runs
    try:
        trio.run(run.main, clock=MockClock(autojump_threshold=0), instruments=[Standstill(run)])
    except BaseExceptionGroup as error:
        note("".join(traceback.format_exception(_first(error))))
        run.world.failure = run.world.failure or f"a task has died: {_first(error)!r}"
    finally:
        gc.enable()
    world = run.world
    return Result(seed, world.failure, run.ended_at, world.happened, digest.hexdigest()[:16])


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Standstill(trio.abc.Instrument):
    """Ends a run in which tasks keep each other busy and no time passes."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._at = -1.0
        self._passes = 0

    def before_io_wait(self, _timeout: float) -> None:
        """Trio's loop has come around once more."""
        now = trio.current_time()
        self._passes = self._passes + 1 if now == self._at else 0
        self._at = now
        if self._passes == MOST_PASSES:
            self._run.world.fail("time stands still")


class Run:
    """The schedule of one seed."""

    world: World
    devices: list[Device]
    guard: Guard

    def __init__(self, plan: Plan, note: Callable[[str], None]) -> None:
        self.plan = plan
        self.ended_at = 0.0
        self._note = note
        self._frozen = False

    async def main(self) -> None:
        """From the start to the end, or to the first failure."""
        async with trio.open_nursery() as nursery:
            self.world = world = World(nursery, self.plan, self._note)
            self._note(str(self.plan))
            self.devices = [Device(world, device) for device in self.plan.devices]
            self.guard = Guard(world, self.devices)
            for node in world.nodes:
                await world.start(node)
            nursery.start_soon(self.guard.run)
            nursery.start_soon(self._story)
            await world.failed.wait()
            self.ended_at = trio.current_time()
            nursery.cancel_scope.cancel()

    async def _story(self) -> None:
        world = self.world
        async with trio.open_nursery() as nursery:
            for device in self.devices:
                world.nursery.start_soon(self._live, device)
            await self._schedule(nursery)
            world.note("no more faults")
            world.over.set()
        await self._apply()
        await self._check()
        for _ in range(3):
            await self._roam()
        world.failed.set()

    async def _schedule(self, nursery: trio.Nursery) -> None:
        dice, plan = self.world.dice, self.plan
        while trio.current_time() < plan.duration:
            await trio.sleep(dice.expovariate(1 / plan.pause))
            if plan.kinds and dice.random() < 0.35:
                nursery.start_soon(self._fault, dice.choice(plan.kinds))
            else:
                self._move(dice.choice(self.devices))

    async def _fault(self, kind: str) -> None:
        if await FAULTS[kind](self.world):
            self.world.happened[kind] += 1

    # -- the clients --

    def _move(self, device: Device) -> None:
        dice = self.world.dice
        node = self._somewhere()
        if node is None:
            return
        what = dice.choice(("roam", "roam", "vanish", "goodbye", "refused"))
        if device.node is None:
            what = "connect"
        elif what == "roam" and device.is_live:
            leave = dice.choice((device.vanish, device.say_goodbye))
            leave()
        if what in ("connect", "roam"):
            device.connect(node)
        elif what == "refused":
            device.try_in_vain(node)
        else:
            (device.vanish if what == "vanish" else device.say_goodbye)()
        self.world.happened[f"client: {what}"] += 1

    def _somewhere(self) -> Node | None:
        serving = [node for node in self.world.nodes if node.serving]
        return self.world.dice.choice(serving) if serving else None

    async def _live(self, device: Device) -> None:
        """A client that was thrown out connects again, a little later."""
        while not self._frozen:
            await trio.sleep(self.world.dice.uniform(1, 10))
            if device.node is None or device.is_live or self._frozen:
                continue
            node = self._somewhere()
            if node is not None:
                self.world.happened["client: connects again"] += 1
                device.connect(node)

    # -- the end --

    async def _apply(self) -> None:
        plan = self.plan
        patience = MOST_PATIENCE * plan.hold_time
        longest = max(REGULAR, patience, plan.restart_time, plan.status_interval) + 10
        await trio.sleep(20)
        self._frozen = True
        await trio.sleep(plan.ping_restart + longest)

    async def _check(self) -> None:
        """Everything is as it should be, or will be in a moment."""
        wrong = list(complaints(self.world))
        if wrong:
            self.world.note(f"not yet: {wrong}")
            await trio.sleep(3)
            wrong = list(complaints(self.world))
        if wrong:
            for node in self.world.nodes:
                self.world.note(f"{node.name} running {node.running}: {_written(node)}")
            self.world.fail("; ".join(wrong[:3]))

    async def _roam(self) -> None:
        """In peace the newest session wins at once, though the old one is still listed."""
        world = self.world
        nodes = [node for node in world.nodes if node.running]
        if not nodes:
            return
        device, node = world.dice.choice(self.devices), world.dice.choice(nodes)
        if device.node is not None:
            device.vanish()
        device.connect(node)
        await trio.sleep(AT_ONCE)
        prefix = Prefix.parse(device.plan.address)
        for other in nodes:
            to = installed(other).get(prefix)
            if to != (None if other is node else node.name) and not is_blocked(other, prefix):
                world.fail(f"{device.plan.label} is on {node.name}, {other.name} leads to {to}")
        await trio.sleep(DROPPED)
        for other in nodes:
            if other is not node and self._should_have_dropped(other, device):
                world.fail(f"{other.name} keeps the dead session of {device.plan.label}")

    def _should_have_dropped(self, node: Node, device: Device) -> bool:
        """Whether a superseded session is still there, though nothing forbids its drop."""
        name, address = device.plan.name, device.plan.address.encode()
        sessions = [c for c in node.openvpn.clients.values() if c.name == name]
        superseded = len(sessions) == 1 and sessions[0].address == address
        damped = self.guard.dropped_at(node, name) > node.came_at
        return superseded and node.plan.kill_superseded and not damped


def _written(node: Node) -> str:
    routes = ", ".join(f"{prefix} {to}" for prefix, to in sorted(installed(node).items()))
    listed = ", ".join(f"{prefix}" for prefix, _ in node.lists())
    return f"routes {routes}; lists {listed}"
