"""Faults of OpenVPN: it restarts, stops answering, is slow, truncates its listings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tests.simulation.faults.registry import aftermath, fault, learned_from, one_of
from tests.simulation.world import Node, World


def _serving(world: World) -> Node | None:
    return one_of(world, [node for node in world.nodes if node.serving])


@contextmanager
def _unavailable(world: World, node: Node, what: str) -> Iterator[None]:
    """No client can connect meanwhile."""
    world.note(f"OpenVPN {node.name}: {what}")
    node.serving = False
    with world.disturbances.disturbed(aftermath(world), *learned_from(node)):
        yield
    node.serving = True
    world.note(f"OpenVPN {node.name}: works again")


@fault
async def openvpn_restarts(world: World) -> bool:
    """SIGUSR1 or SIGHUP: the management connection stays, all clients are lost."""
    node = _serving(world)
    if node is None:
        return False
    with _unavailable(world, node, "restarts"):
        node.openvpn.restart(world.rng.choice((b"SIGUSR1", b"SIGHUP")))
        await trio.sleep(world.rng.uniform(0.1, 2 * world.plan.hold_time))
        node.openvpn.restarted()
    return True


@fault
async def openvpn_ends_and_starts(world: World) -> bool:
    """SIGTERM, and a start."""
    node = _serving(world)
    if node is None:
        return False
    with _unavailable(world, node, "ends"):
        node.openvpn.stop()
        await trio.sleep(world.rng.uniform(0.1, 4 * world.plan.hold_time))
        node.openvpn.start()
    return True


@fault
async def openvpn_hangs_up(world: World) -> bool:
    """The management connection is closed, and the clients stay."""
    node = _serving(world)
    if node is None:
        return False
    world.note(f"OpenVPN {node.name}: closes the connection")
    with world.disturbances.disturbed(aftermath(world), *learned_from(node)):
        node.openvpn.hang_up()
        await trio.lowlevel.checkpoint()
    return True


@fault
async def openvpn_is_silent(world: World) -> bool:
    """It is blocked by a script or by SIGSTOP."""
    node = _serving(world)
    if node is None:
        return False
    with _unavailable(world, node, "stops answering"):
        node.openvpn.fall_silent()
        await trio.sleep(world.rng.uniform(0.5, 30))
        node.openvpn.wake_up()
    return True


@fault
async def openvpn_is_slow(world: World) -> bool:
    """It takes seconds for each answer."""
    node = _serving(world)
    if node is None or node.openvpn.lag != node.plan.lag:
        return False
    world.note(f"OpenVPN {node.name}: slow")
    with world.disturbances.disturbed(aftermath(world), *learned_from(node)):
        node.openvpn.lag = world.rng.uniform(0.1, 3)
        await trio.sleep(world.rng.uniform(1, 30))
        node.openvpn.lag = node.plan.lag
    return True


@fault
async def openvpn_cuts_listings_short(world: World) -> bool:
    """Listings are truncated, without END; sometimes the connection is closed."""
    node = _serving(world)
    if node is None or node.openvpn.cut_after is not None:
        return False
    world.note(f"OpenVPN {node.name}: truncates listings")
    with world.disturbances.disturbed(aftermath(world), *learned_from(node)):
        node.openvpn.cut_after = world.rng.randint(0, 12)
        node.openvpn.hang_up_in_listing = world.rng.random() < 0.3
        await trio.sleep(world.rng.uniform(0.5, 30))
        node.openvpn.cut_after = None
        node.openvpn.hang_up_in_listing = False
    return True


@fault
async def openvpn_waits_for_operator(world: World) -> bool:
    """``hold``: listings are refused with an error."""
    node = _serving(world)
    if node is None:
        return False
    with _unavailable(world, node, "holds"):
        node.openvpn.restart()
        node.openvpn.hold = True
        await trio.sleep(world.rng.uniform(0.5, 15))
        node.openvpn.hold = False
        node.openvpn.restarted()
    return True
