"""One change after the other in a mesh without faults: who has each service afterwards.

After each change there is time to settle, whose length follows from the configuration; then the
services are where they should be, and nobody but who had a reason to has lost one.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence

import trio

from tests.fakes.commands import HANGS, Behaviour
from tests.simulation.commands import FAILS, Command
from tests.simulation.devices import Device
from tests.simulation.faults.registry import learned_from
from tests.simulation.service_monitor import ServiceMonitor
from tests.simulation.service_oracle import (
    can_lose,
    holders_in,
    parts,
    service_violations,
    settled_at,
    successor,
)
from tests.simulation.service_plan import ServicePlan
from tests.simulation.world import Node, World

CHANGES, MANY_CHANGES = (1, 2, 5), (5, 8)
"""How many changes are made, one after the other; each is undone. The second: in a run that is
about services alone."""

SLOW = 0.4
"""Seconds that messages take in a slow network."""

QUIET_TIME = 2.0
"""Seconds after a change has settled, in which nothing moves any more."""

VACATING = ("isolated", "killed", "stopped", "check_fails", "drained")
"""Changes after which another node has what the node had, if there is one that may."""

Undo = Callable[[], Awaitable[None]]
Change = Callable[["ServiceScenario", Node, ServicePlan], Awaitable[Undo | None]]
"""Makes a change to a node. Returns what undoes it; None: it cannot be made."""

CHANGES_BY_NAME: dict[str, Change] = {}


def change(function: Change) -> Change:
    """Register a change under its function's name."""
    CHANGES_BY_NAME[getattr(function, "__name__", "")] = function
    return function


class ServiceScenario:
    """The changes of one run."""

    def __init__(self, world: World, monitor: ServiceMonitor, devices: Sequence[Device]) -> None:
        self.world = world
        self.devices = devices
        self._monitor = monitor
        self._alone: dict[str, Node] = {}  # service -> who had it, alone in the mesh

    async def run(self) -> None:
        """Make some changes. The mesh has settled."""
        world = self.world
        if not world.plan.services:
            return
        for node in world.nodes:
            for key in learned_from(node):
                world.disturbances.disturb(key, math.inf)
        await self._settle("the end of the faults")
        for _ in range(world.rng.choice(MANY_CHANGES if world.plan.is_about_services else CHANGES)):
            name = world.rng.choice(sorted(CHANGES_BY_NAME))
            service = world.rng.choice(world.plan.services)
            running = [node for node in world.nodes if node.running]
            have = holders_in(running, service)
            node = world.rng.choice(have if have and world.rng.random() < 0.6 else running)
            undo = await CHANGES_BY_NAME[name](self, node, service)
            if undo is None:
                continue
            world.counts[f"change: {name}"] += 1
            await self._settle(f"{name} {node.name}", vacated=name in VACATING)
            await undo()
            await self._settle(f"{name} {node.name}, undone")

    async def _settle(self, after: str, *, vacated: bool = False) -> None:
        """Wait until the services have settled, and check them.

        *vacated*: who had an address cannot have it any more.
        """
        world, monitor = self.world, self._monitor
        world.note(f"change: {after}")
        began, taken = trio.current_time(), monitor.taken.copy()
        # a command that fails meanwhile extends the time
        while trio.current_time() < settled_at(world, monitor, began):  # noqa: ASYNC110
            await trio.sleep(0.5)
        for wrong in (*service_violations(world), *self._still_here()):
            world.fail(f"{wrong}, after {after}")
        for service in world.plan.services:
            if not service.nearest:
                count = monitor.taken[service.name] - taken[service.name]
                self._check_moves(service, count, after, vacated=vacated)
        settled = monitor.taken.copy()
        await trio.sleep(QUIET_TIME)
        if monitor.taken != settled:
            world.fail(f"services move without a reason, long after {after}")

    def _still_here(self) -> Iterator[str]:
        """Clients of drained nodes that could be elsewhere.

        The daemon does not know of one whose address another client has got there.
        """
        nodes = [node for node in self.world.nodes if node.running]
        if len(parts(self.world)) != 1 or all(node.drained for node in nodes):
            return
        for device in self.devices:
            known = device.is_live and device.session is not None and device.session.address
            if known and device.node in nodes and device.node.drained:
                yield f"{device.plan.label} is still on {device.node.name}, which is drained"

    def _check_moves(self, service: ServicePlan, taken: int, after: str, *, vacated: bool) -> None:
        """Nobody has lost the service without a reason."""
        world, whole = self.world, parts(self.world)
        if taken > 2 * len(whole):
            world.fail(f"service {service.name} was taken {taken} times after {after}")
        had = self._alone.pop(service.name, None)
        for part in whole:
            have = holders_in(part, service)
            if had in part and had not in have and not can_lose(had, service, part):
                world.fail(f"{had.name} has lost {service.name} without a reason, after {after}")
            if had is not None and had not in have and len(have) == 1 and vacated:
                first = successor(self._monitor, part, service)
                if first is not None and first is not have[0]:
                    wrong = f"{have[0].name} has {service.name}, not {first.name}"
                    world.fail(f"{wrong}, after {after}")
            if len(whole) == 1 and len(have) == 1:
                self._alone[service.name] = have[0]

    def is_acquiring(self, node: Node, service: ServicePlan) -> bool:
        """Whether its on_acquire runs."""
        return "on_acquire" in self._monitor.holding(node, service).running

    def forget(self) -> None:
        """Everybody may lose what it has, in the next change."""
        self._alone.clear()

    def cut(self, some: Sequence[Node]) -> Undo:
        """Cut *some* from all others."""
        network = self.world.mesh.network
        rest = [node for node in self.world.nodes if node not in some]
        pairs = [(a.server.address, b.server.address) for a in some for b in rest]
        for ends in pairs:
            network.partition(*ends)

        async def heal() -> None:
            for ends in pairs:
                network.heal(*ends)

        return heal

    def misbehave(self, node: Node, service: ServicePlan, program: str) -> Undo | None:
        """Let a command fail or hang; None: the node has no such command."""
        seat = service.seats.get(node.name)
        if seat is None or not (program in seat.programs or program == "check"):
            return None
        if program == "check" and not seat.check_interval:
            return None
        key = Command(program, service.name).path
        node.commands.misbehave(key, self.world.rng.choice((FAILS, HANGS)))

        async def recover() -> None:
            node.commands.recover(key)

        return recover


@change
async def isolated(scenario: ServiceScenario, node: Node, _: ServicePlan) -> Undo | None:
    """A node is cut from all others."""
    return scenario.cut([node])


@change
async def back_meanwhile(scenario: ServiceScenario, node: Node, _: ServicePlan) -> Undo | None:
    """A node is cut from all others, and back when these may be about to take what it has."""
    world = scenario.world
    scenario.forget()
    heal = scenario.cut([node])
    await trio.sleep(world.plan.hold_time + world.rng.uniform(-0.5, 0.9))
    await heal()
    return _nothing


@change
async def back_while_acquiring(
    scenario: ServiceScenario, node: Node, service: ServicePlan
) -> Undo | None:
    """A node is cut from all others, and back while on_acquire runs, which is slow.

    Messages may take so long that on_acquire ends before all is known of that node.
    """
    world, network = scenario.world, scenario.world.mesh.network
    seats = [(other, service.seats.get(other.name)) for other in node.others if other.running]
    slow = [(other, seat) for other, seat in seats if seat and "on_acquire" in seat.programs]
    if service.nearest or not slow:
        return None
    scenario.forget()
    path = Command("on_acquire", service.name).path
    for other, seat in slow:
        other.commands.misbehave(path, Behaviour(duration=seat.command_timeout - 0.1))
    heal = scenario.cut([node])
    with trio.move_on_after(2 * world.plan.hold_time + 5):
        while not any(scenario.is_acquiring(n, service) for n, _ in slow):  # noqa: ASYNC110
            await trio.sleep(0.05)
    await trio.sleep(world.rng.choice((0.0, world.rng.random())))
    usual, network.delay = network.delay, world.rng.choice((network.delay, SLOW))
    await heal()
    await trio.sleep(world.plan.hold_time)
    network.delay = usual

    async def recover() -> None:
        for other, _ in slow:
            other.commands.recover(path)

    return recover


@change
async def halves(scenario: ServiceScenario, _node: Node, _: ServicePlan) -> Undo | None:
    """The mesh is cut into two parts."""
    nodes = scenario.world.nodes
    return scenario.cut(scenario.world.rng.sample(nodes, len(nodes) // 2))


@change
async def check_fails(scenario: ServiceScenario, node: Node, service: ServicePlan) -> Undo | None:
    """A check fails or hangs."""
    return scenario.misbehave(node, service, "check")


@change
async def all_checks_fail(
    scenario: ServiceScenario, _node: Node, service: ServicePlan
) -> Undo | None:
    """Every check fails or hangs: who has the address keeps it."""
    all_ = [scenario.misbehave(node, service, "check") for node in scenario.world.nodes]
    undo = [one for one in all_ if one is not None]

    async def recover() -> None:
        scenario.forget()  # the first that is healthy again gets it
        for one in undo:
            await one()
            await trio.sleep(scenario.world.rng.choice((0, 0.1, 3)))

    return recover if undo else None


@change
async def on_acquire_fails(
    scenario: ServiceScenario, node: Node, service: ServicePlan
) -> Undo | None:
    """on_acquire fails where the address is not, and who has it is isolated."""
    recover = scenario.misbehave(node, service, "on_acquire")
    if recover is None:
        return None
    heal = scenario.cut([other for other in node.others if other.running][:1])

    async def undo() -> None:
        await heal()
        await recover()

    return undo


@change
async def on_release_fails(
    scenario: ServiceScenario, node: Node, service: ServicePlan
) -> Undo | None:
    """on_release fails or hangs; then the check fails."""
    first = scenario.misbehave(node, service, "on_release")
    second = scenario.misbehave(node, service, "check")
    undo = [one for one in (first, second) if one is not None]

    async def recover() -> None:
        for one in undo:
            await one()

    return recover if undo else None


@change
async def killed(scenario: ServiceScenario, node: Node, _: ServicePlan) -> Undo | None:
    """kill -9: the address stays on the host, and another node takes it."""
    world = scenario.world
    await world.crash(node)

    async def start() -> None:
        await world.start(node)

    return start


@change
async def killed_for_a_moment(scenario: ServiceScenario, node: Node, _: ServicePlan) -> Undo | None:
    """kill -9 and a start within the hold time: nothing moves."""
    world = scenario.world
    await world.crash(node)
    # it may be the only witness, its last message one heartbeat old, and connects in 0.2 s
    longest = world.plan.hold_time - 2 * world.plan.heartbeat_interval - 0.3
    await trio.sleep(world.rng.uniform(0, longest))
    await world.start(node)
    return _nothing


@change
async def stopped(scenario: ServiceScenario, node: Node, _: ServicePlan) -> Undo | None:
    """It is stopped in order, which hands its services over."""
    world = scenario.world
    await world.stop(node)

    async def start() -> None:
        await world.start(node)

    return start


@change
async def all_restarted(scenario: ServiceScenario, _node: Node, _: ServicePlan) -> Undo | None:
    """All nodes restart together; addresses may stay on the hosts."""
    world, running = scenario.world, [node for node in scenario.world.nodes if node.running]
    scenario.forget()
    for node in running:
        await (world.crash if world.rng.random() < 0.5 else world.stop)(node)
    for node in running:
        await world.start(node)
        await trio.sleep(world.rng.choice((0, 0.1, 1)))
    return _nothing


@change
async def priority_changed(
    scenario: ServiceScenario, node: Node, service: ServicePlan
) -> Undo | None:
    """A reload changes the priority."""
    if service.name not in node.priorities:
        return None
    before = node.priorities[service.name]

    async def set_to(priority: int) -> None:
        node.priorities[service.name] = priority
        node.configure()
        if node.running:
            await node.server.reload()

    await set_to(scenario.world.rng.choice((10, 100, 300)))
    return lambda: set_to(before)


@change
async def section_removed(
    scenario: ServiceScenario, node: Node, service: ServicePlan
) -> Undo | None:
    """A reload removes the section, and another one adds it."""
    if service.name not in node.priorities:
        return None
    before = node.priorities.pop(service.name)
    node.configure()
    await node.server.reload()

    async def undo() -> None:
        node.priorities[service.name] = before
        node.configure()
        await node.server.reload()

    return undo


@change
async def address_removed(
    _scenario: ServiceScenario, node: Node, service: ServicePlan
) -> Undo | None:
    """Somebody removes the address from the host that has it."""
    return _nothing if node.remove_address(service.prefix) else None


@change
async def address_added(
    _scenario: ServiceScenario, node: Node, service: ServicePlan
) -> Undo | None:
    """Somebody adds the address on a host that does not have it, and has the section."""
    if service.name not in node.priorities:
        return None  # where no section is it is nobody's but theirs who have added it
    return _nothing if node.add_address(service.prefix) else None


@change
async def drained(scenario: ServiceScenario, node: Node, _: ServicePlan) -> Undo | None:
    """A node is drained; with luck it restarts meanwhile."""
    world = scenario.world
    if not await node.drain(0.0):
        return None
    if world.rng.random() < 0.3:
        await world.crash(node)
        await world.start(node)
    return node.resume


async def _nothing() -> None:
    pass
