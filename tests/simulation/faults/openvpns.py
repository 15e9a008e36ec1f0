"""OpenVPN restarts, falls silent, is slow, and cuts its listings short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tests.simulation.faults.registry import aftermath, fault, heard_of, one_of
from tests.simulation.world import Node, World


def _serving(world: World) -> Node | None:
    return one_of(world, [node for node in world.nodes if node.serving])


@contextmanager
def _out_of_order(world: World, node: Node, what: str) -> Iterator[None]:
    """Nobody can connect meanwhile."""
    world.note(f"OpenVPN {node.name}: {what}")
    node.serving = False
    with world.disturbances.disturbed(aftermath(world), *heard_of(node)):
        yield
    node.serving = True
    world.note(f"OpenVPN {node.name}: well again")


@fault
async def openvpn_restarts(world: World) -> bool:
    """SIGUSR1 or SIGHUP: the management connection stays, every client is lost."""
    node = _serving(world)
    if node is None:
        return False
    with _out_of_order(world, node, "restarts"):
        node.openvpn.restart(world.dice.choice((b"SIGUSR1", b"SIGHUP")))
        await trio.sleep(world.dice.uniform(0.1, 2 * world.plan.hold_time))
        node.openvpn.restarted()
    return True


@fault
async def openvpn_ends_and_starts(world: World) -> bool:
    """SIGTERM, and started again."""
    node = _serving(world)
    if node is None:
        return False
    with _out_of_order(world, node, "ends"):
        node.openvpn.stop()
        await trio.sleep(world.dice.uniform(0.1, 4 * world.plan.hold_time))
        node.openvpn.start()
    return True


@fault
async def openvpn_hangs_up(world: World) -> bool:
    """The management connection ends, and the clients stay."""
    node = _serving(world)
    if node is None:
        return False
    world.note(f"OpenVPN {node.name}: hangs up")
    with world.disturbances.disturbed(aftermath(world), *heard_of(node)):
        node.openvpn.hang_up()
        await trio.lowlevel.checkpoint()
    return True


@fault
async def openvpn_is_silent(world: World) -> bool:
    """A script blocks it, or SIGSTOP does."""
    node = _serving(world)
    if node is None:
        return False
    with _out_of_order(world, node, "falls silent"):
        node.openvpn.fall_silent()
        await trio.sleep(world.dice.uniform(0.5, 30))
        node.openvpn.wake_up()
    return True


@fault
async def openvpn_is_slow(world: World) -> bool:
    """It takes seconds for each answer."""
    node = _serving(world)
    if node is None or node.openvpn.lag != node.plan.lag:
        return False
    world.note(f"OpenVPN {node.name}: slow")
    with world.disturbances.disturbed(aftermath(world), *heard_of(node)):
        node.openvpn.lag = world.dice.uniform(0.1, 3)
        await trio.sleep(world.dice.uniform(1, 30))
        node.openvpn.lag = node.plan.lag
    return True


@fault
async def openvpn_cuts_listings_short(world: World) -> bool:
    """Listings end in the middle, without END, some with the connection."""
    node = _serving(world)
    if node is None or node.openvpn.cut_after is not None:
        return False
    world.note(f"OpenVPN {node.name}: cuts listings short")
    with world.disturbances.disturbed(aftermath(world), *heard_of(node)):
        node.openvpn.cut_after = world.dice.randint(0, 12)
        node.openvpn.hang_up_in_listing = world.dice.random() < 0.3
        await trio.sleep(world.dice.uniform(0.5, 30))
        node.openvpn.cut_after = None
        node.openvpn.hang_up_in_listing = False
    return True


@fault
async def openvpn_waits_for_operator(world: World) -> bool:
    """``hold``: a listing is refused by an error line."""
    node = _serving(world)
    if node is None:
        return False
    with _out_of_order(world, node, "holds"):
        node.openvpn.restart()
        node.openvpn.hold = True
        await trio.sleep(world.dice.uniform(0.5, 15))
        node.openvpn.hold = False
        node.openvpn.restarted()
    return True
