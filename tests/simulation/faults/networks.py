"""Faults of the tunnels between nodes: cut, slow, losing and repeating messages."""

from __future__ import annotations

import trio

from tests.simulation.faults.registry import (
    aftermath,
    between,
    claims_between,
    fault,
    two_nodes,
)
from tests.simulation.world import Node, World


def is_cut(world: World, a: Node, b: Node) -> bool:
    """Whether the path between them is cut already."""
    one, other = a.server.address, b.server.address
    network = world.mesh.network
    return not (network.passes(one, other) and network.passes(other, one))


@fault
async def partition(world: World) -> bool:
    """The path between two nodes is cut."""
    return await _cut(world, one_way=False)


@fault
async def one_way_partition(world: World) -> bool:
    """The path from one node to another is cut; the opposite direction works."""
    return await _cut(world, one_way=True)


async def _cut(world: World, *, one_way: bool) -> bool:
    a, b = two_nodes(world)
    if is_cut(world, a, b):
        return False
    world.note(f"cut {a.name} {'->' if one_way else '<->'} {b.name}")
    network, ends = world.mesh.network, (a.server.address, b.server.address)
    with (
        world.disturbances.disturbed(aftermath(world), *between(a, b)),
        world.disturbances.disturbed(world.plan.hold_time, *claims_between(a, b)),
    ):
        (network.block if one_way else network.partition)(*ends)
        await trio.sleep(world.rng.choice((0.2, 1, 5)) * world.plan.hold_time)
        network.heal(*ends)
    world.note(f"healed {a.name} {b.name}")
    return True


@fault
async def messages_lost(world: World) -> bool:
    """A subscriber is too slow: beyond the high-water mark messages to it are lost."""
    a, b = two_nodes(world)
    count = world.rng.choice((1, 1, 2, 5, 20))
    world.note(f"{count} messages {a.name} -> {b.name} will be lost")
    with (
        world.disturbances.disturbed(aftermath(world), ("routes", b.name, a.name)),
        world.disturbances.disturbed(world.plan.hold_time, ("claims", b.name, a.name)),
    ):
        world.mesh.network.lose(a.server.address, b.server.address, count)
        await trio.sleep(world.plan.hold_time)
    return True


@fault
async def connection_lost(world: World) -> bool:
    """A connection ends; messages in flight are lost or repeated."""
    a, b = two_nodes(world)
    network, ends = world.mesh.network, (a.server.address, b.server.address)
    lost, repeated = world.rng.random() < 0.5, world.rng.randint(0, 5)
    world.note(f"connection of {a.name} and {b.name} ends, {lost=}, {repeated=}")
    with (
        world.disturbances.disturbed(aftermath(world), *between(a, b)),
        world.disturbances.disturbed(world.plan.hold_time, *claims_between(a, b)),
    ):
        if lost:
            network.drop_in_flight(*ends)
        network.repeat(*ends, repeated)
        network.disconnect(*ends)
        await trio.sleep(1)
    return True


@fault
async def slow_network(world: World) -> bool:
    """All messages are delayed."""
    network = world.mesh.network
    if network.delay > 0.001:
        return False
    network.delay = world.rng.choice((0.02, 0.2, 2.0))
    world.note(f"messages take {network.delay} s")
    keys = [key for a in world.nodes for b in a.others for key in between(a, b)]
    claims = [key for a in world.nodes for b in a.others for key in claims_between(a, b)]
    with (
        world.disturbances.disturbed(aftermath(world) + 2, *keys),
        world.disturbances.disturbed(world.plan.hold_time + 2, *claims),
    ):
        await trio.sleep(world.rng.uniform(1, 30))
        network.delay = 0.001
    world.note("the network is fast again")
    return True
