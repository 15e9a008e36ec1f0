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
    await _quick_restart(world, node)
    return True


async def _quick_restart(world: World, node: Node) -> None:
    again = not world.disturbances.holds(("restarted", node.name))
    # a daemon that is killed right after a stall has been silent for longer than it is down
    silent = world.disturbances.stalled_within(world.plan.heartbeat_interval) > 0
    keys: list[Hashable] = learned_from(node) if again or silent else [("versions", node.name)]
    with world.disturbances.disturbed(aftermath(world), *keys):
        await world.crash(node)
        await trio.sleep(world.rng.uniform(0, max_unnoticed(world)))
        await start(world, node)


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
async def openvpn_key_changed(world: World) -> bool:
    """SIGHUP with another way to the management interface: no node may lose a client's route.

    Once in a hold time at most: each new connection waits for a slow OpenVPN to end the last one.
    """
    node = _running(world)
    if node is None or trio.current_time() < node.damping_since + node.server.config.hold_time:
        return False
    port = world.rng.randint(1024, 65535)
    world.note(f"reload {node.name} with openvpn_mgmt_port = {port}")
    node.server.settings = [
        *(line for line in node.server.settings if not line.startswith("openvpn_mgmt_port")),
        f"openvpn_mgmt_port = {port}",
    ]
    # what OpenVPN announces between the two connections is found by the next listing
    with world.disturbances.disturbed(aftermath(world), ("versions", node.name)):
        node.damping_since = trio.current_time()
        await node.server.reload()
    return True


@fault
async def name_cloned(world: World) -> bool:
    """A node announces another's name, as a cloned host does: the other may lose no route.

    A third node restarts meanwhile, and may receive the clone's messages first.
    """
    clone = _running(world)
    if clone is None or len(clone.others) < 2 or ("clone",) in world.busy:
        return False
    original, third = world.rng.sample(clone.others, 2)
    world.note(f"{clone.name} announces the name {original.name}")
    keys = [*learned_from(clone), *(("routes", clone.name, other.name) for other in clone.others)]
    with (
        world.occupied(("clone",)),
        world.disturbances.disturbed(aftermath(world), *keys),
    ):
        clone.server.node = original.name
        clone.configure()
        await _restart(world, clone)
        await trio.sleep(world.plan.hold_time)
        if third.running:
            await _quick_restart(world, third)
        await trio.sleep(world.plan.hold_time)
        clone.server.node = clone.name
        clone.configure()
        while not (clone.running or clone.gone):  # noqa: ASYNC110 - another fault restarts it
            await trio.sleep(0.05)
        if clone.running and clone.server.daemon.config.node != clone.name:
            await _restart(world, clone)
    return True


async def _restart(world: World, node: Node) -> None:
    await world.crash(node)
    await start(world, node)


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
    for node in world.nodes:
        # a stall that ends within 0.1 s after a hold timer's deadline cannot be told from the
        # silence of a daemon that is down just then
        if not node.running:
            for key in learned_from(node):
                world.disturbances.disturb(key, aftermath(world))
    clock.jump(seconds)
    world.disturbances.stall(seconds)
    return True


async def start(world: World, node: Node) -> None:
    """Start it; it has not received the goodbyes of peers that are down."""
    for other in node.others:
        if other.goodbye_sent and not other.running:
            world.disturbances.disturb(("routes", node.name, other.name), aftermath(world))
    await world.start(node)
