"""Faults of services: checks and commands fail or hang, addresses are changed by somebody else."""

from __future__ import annotations

import errno

import trio

from tests.fakes.commands import HANGS, Behaviour
from tests.simulation.commands import FAILS, Command
from tests.simulation.faults.kernels import address_retry
from tests.simulation.faults.networks import is_cut
from tests.simulation.faults.registry import aftermath, between, claims_between, fault, one_of
from tests.simulation.service_plan import ServicePlan
from tests.simulation.world import Node, World


def _seated(world: World) -> tuple[Node, ServicePlan] | None:
    """A running node and a service that it may have."""
    return one_of(
        world,
        [
            (node, service)
            for service in world.plan.services
            for node in world.nodes
            if node.running and service.name in node.priorities
        ],
    )


async def _misbehave(world: World, program: str) -> bool:
    """A command fails, hangs, or takes its time, for a while."""
    found = _seated(world)
    if found is None:
        return False
    node, service = found
    key, seat = Command(program, service.name).path, service.seats[node.name]
    exists = seat.check_interval > 0 if program == "check" else program in seat.programs
    if not exists or key in node.commands.misbehaving:
        return False
    slow = Behaviour(duration=world.rng.uniform(0.01, 1.5) * seat.command_timeout)
    does = world.rng.choice((FAILS, FAILS, HANGS, slow))
    node.commands.misbehave(key, does)
    world.note(f"{program} of {service.name} on {node.name}: {does}")
    await trio.sleep(world.rng.uniform(0.1, 30))
    node.commands.recover(key)
    world.note(f"{program} of {service.name} on {node.name} succeeds again")
    return True


@fault
async def check_fails(world: World) -> bool:
    """The check of a service fails or hangs."""
    return await _misbehave(world, "check")


@fault
async def on_acquire_fails(world: World) -> bool:
    """on_acquire fails, hangs, or takes its time."""
    return await _misbehave(world, "on_acquire")


@fault
async def on_release_fails(world: World) -> bool:
    """on_release fails, hangs, or takes its time."""
    return await _misbehave(world, "on_release")


@fault
async def fence_fails(world: World) -> bool:
    """A fence fails, hangs, or takes its time."""
    return await _misbehave(world, "fence")


@fault
async def address_removed(world: World) -> bool:
    """Somebody removes the address of a service."""
    found = _seated(world)
    if found is None or not found[0].remove_address(found[1].prefix):
        return False
    world.note(f"somebody removes {found[1].name} from {found[0].name}")
    await trio.lowlevel.checkpoint()
    return True


@fault
async def address_added(world: World) -> bool:
    """Somebody adds the address of a service."""
    found = _seated(world)
    if found is None or not found[0].add_address(found[1].prefix):
        return False
    world.note(f"somebody adds {found[1].name} to {found[0].name}")
    await trio.lowlevel.checkpoint()
    return True


@fault
async def addresses_refused(world: World) -> bool:
    """The kernel refuses to add and to remove addresses."""
    node = one_of(world, [node for node in world.nodes if not node.kernel.refuses_addresses])
    if node is None or not world.plan.services:
        return False
    world.note(f"kernel {node.name}: refuses addresses")
    seconds = world.rng.uniform(0.1, 10)
    with world.disturbances.disturbed(address_retry(node, seconds), ("addresses", node.name)):
        node.kernel.refuses_addresses = errno.EPERM
        await trio.sleep(seconds)
        node.kernel.refuses_addresses = 0
    world.note(f"kernel {node.name}: refuses no address any more")
    return True


@fault
async def isolated(world: World) -> bool:
    """A node is cut from all others."""
    node = one_of(world, world.nodes)
    assert node is not None
    if any(is_cut(world, node, other) for other in node.others):
        return False
    world.note(f"cut {node.name} from all")
    network = world.mesh.network
    keys = [key for other in node.others for key in between(node, other)]
    claims = [key for other in node.others for key in claims_between(node, other)]
    with (
        world.disturbances.disturbed(aftermath(world), *keys),
        world.disturbances.disturbed(world.plan.hold_time, *claims),
    ):
        for other in node.others:
            network.partition(node.server.address, other.server.address)
        await trio.sleep(world.rng.choice((0.5, 2, 8)) * world.plan.hold_time)
        for other in node.others:
            network.heal(node.server.address, other.server.address)
    world.note(f"healed {node.name}")
    return True


@fault
async def priority_changed(world: World) -> bool:
    """A reload changes the priority of a service."""
    found = _seated(world)
    if found is None:
        return False
    node, service = found
    node.priorities[service.name] = priority = world.rng.choice((10, 100, 150, 300))
    world.note(f"reload {node.name} with priority {priority} for {service.name}")
    node.configure()
    await node.server.reload()
    return True


@fault
async def section_removed(world: World) -> bool:
    """A reload removes the section of a service; later another one adds it."""
    found = _seated(world)
    if found is None:
        return False
    node, service = found
    before = node.priorities.pop(service.name)
    world.note(f"reload {node.name} without {service.name}")
    node.configure()
    await node.server.reload()
    await trio.sleep(world.rng.uniform(0.01, 20))
    node.priorities[service.name] = before
    world.note(f"reload {node.name} with {service.name}")
    node.configure()
    if node.running:
        await node.server.reload()
    return True


@fault
async def drained(world: World) -> bool:
    """A node is drained, and put into service again."""
    node = one_of(world, [node for node in world.nodes if node.running and not node.drained])
    if node is None or node.drained is None:
        return False
    world.note(f"drain {node.name}")
    if not await node.drain(world.rng.choice((0.0, 5.0, 30.0))):
        return False
    await trio.sleep(world.rng.uniform(0.1, 40))
    while not (node.running or node.gone):  # noqa: ASYNC110 - another fault restarts it
        await trio.sleep(0.05)
    if node.running:
        world.note(f"resume {node.name}")
        await node.resume()
    return True
