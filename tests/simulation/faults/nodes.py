"""Faults of nodes: daemons crash and restart, clocks are wrong, the host stalls."""

from __future__ import annotations

from collections.abc import Hashable

import trio
from trio.testing import MockClock

from tests.simulation.faults.registry import aftermath, fault, learned_from, one_of
from tests.simulation.plan import HOUR
from tests.simulation.world import Node, World


def _running(world: World) -> Node | None:
    return one_of(world, [node for node in world.nodes if node.running])


def max_unnoticed(world: World) -> float:
    """Seconds that a daemon may be down unnoticed: its last message may be one heartbeat old."""
    return world.plan.hold_time - world.plan.heartbeat_interval - 0.6


@fault
async def quick_crash(world: World) -> bool:
    """kill -9, and back within hold_time: no node may lose a route."""
    node = _running(world)
    if node is None:
        return False
    again = not world.disturbances.holds(("restarted", node.name))
    keys: list[Hashable] = learned_from(node) if again else [("versions", node.name)]
    with world.disturbances.disturbed(aftermath(world), *keys):
        await world.crash(node)
        await trio.sleep(world.rng.uniform(0, max_unnoticed(world)))
        await start(world, node)
    return True


@fault
async def long_crash(world: World) -> bool:
    """kill -9, and back after its peers have withdrawn its routes."""
    node = _running(world)
    if node is None:
        return False
    with world.disturbances.disturbed(aftermath(world), *learned_from(node)):
        await world.crash(node)
        await trio.sleep(world.rng.uniform(max_unnoticed(world), 40))
        await start(world, node)
    return True


@fault
async def planned_restart(world: World) -> bool:
    """systemctl restart: with on_exit = keep no node may lose a route."""
    node = _running(world)
    if node is None:
        return False
    again = not world.disturbances.holds(("restarted", node.name))
    keys: list[Hashable] = [("versions", node.name)]
    if again or not node.plan.keep:
        keys = learned_from(node)
    with world.disturbances.disturbed(aftermath(world), *keys):
        await world.stop(node)
        await trio.sleep(world.rng.uniform(0, world.plan.restart_time - 2))
        await start(world, node)
    return True


@fault
async def gone_for_good(world: World) -> bool:
    """A daemon ends, and stays down until the other faults are over."""
    node = _running(world)
    if node is None or sum(other.running for other in world.nodes) < 3:
        return False
    with world.disturbances.disturbed(aftermath(world), *learned_from(node)):
        await (world.crash if world.rng.random() < 0.5 else world.stop)(node)
        node.gone = True
        await world.over.wait()
        if world.rng.random() < 0.5:
            await start(world, node)
    return True


@fault
async def reload(world: World) -> bool:
    """SIGHUP without a change of the configuration."""
    node = _running(world)
    if node is None:
        return False
    world.note(f"reload {node.name}")
    await node.server.reload()
    return True


@fault
async def clock_set(world: World) -> bool:
    """A server's clock is set."""
    node = one_of(world, world.nodes)
    assert node is not None
    node.server.skew += world.rng.uniform(-3, 3) * HOUR
    world.note(f"clock of {node.name} is off by {node.server.skew:.0f} s")
    return True


@fault
async def stall(world: World) -> bool:
    """The host that everything runs on stops for a while: no node may lose a route."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    seconds = world.rng.choice((0.5, 2, 10, 60))
    world.note(f"everything stops for {seconds} s")
    clock.jump(seconds)
    world.disturbances.stall(seconds)
    return True


async def start(world: World, node: Node) -> None:
    """Start it; it has not received the goodbyes of peers that are down."""
    for other in node.others:
        if other.goodbye_sent and not other.running:
            world.disturbances.disturb(("routes", node.name, other.name), aftermath(world))
    await world.start(node)
