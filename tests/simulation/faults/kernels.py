"""Faults of a node's kernel: links, nexthops, foreign routes, refused changes, overflows."""

from __future__ import annotations

import errno
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import trio

from cuberouted.model import Prefix, format_address
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.types import Change, Nexthop, Op
from tests.fakes.kernel_state import Place
from tests.fakes.server import METRIC, PROTOCOL
from tests.simulation.faults.networks import is_cut
from tests.simulation.faults.registry import (
    aftermath,
    between,
    claims_between,
    fault,
    one_of,
    two_nodes,
)
from tests.simulation.world import Node, World

MAX_ADDRESS_RETRY = 62.0
"""Seconds after which a node has tried again to set an address, however often that has failed."""

REFUSALS = (errno.EBUSY, errno.ENETUNREACH, errno.EEXIST, errno.ENOMEM)


def _kernel_of(node: Node) -> list[Hashable]:
    return [
        ("kernel", node.name),
        *(("routes", node.name, other.name) for other in node.others),
    ]


@contextmanager
def _disturbed(world: World, node: Node, what: str) -> Iterator[None]:
    world.note(f"kernel {node.name}: {what}")
    with world.disturbances.disturbed(SCAN_INTERVAL, *_kernel_of(node)):
        yield
    world.note(f"kernel {node.name}: {what}, over")


SCAN_INTERVAL = 65.0
"""Seconds after which the periodic scan has repaired whatever is wrong."""


def _any(world: World) -> Node:
    return world.rng.choice(world.nodes)


@fault
async def link_down(world: World) -> bool:
    """A tunnel goes down; the kernel removes its routes and nexthops."""
    a, b = two_nodes(world)
    device = f"to-{b.name}"
    if is_cut(world, a, b) or device not in a.kernel.devices:
        return False
    carrier = world.rng.random() < 0.5
    change = a.kernel.set_carrier if carrier else a.kernel.set_up
    network, ends = world.mesh.network, (a.server.address, b.server.address)
    with (
        _disturbed(world, a, f"{device} is down, {carrier=}"),
        world.disturbances.disturbed(aftermath(world), *between(a, b)),
        world.disturbances.disturbed(world.plan.hold_time, *claims_between(a, b)),
    ):
        network.partition(*ends)
        change(device, False)
        await trio.sleep(world.rng.choice((0.2, 1, 5)) * world.plan.hold_time)
        change(device, True)
        network.heal(*ends)
    return True


@fault
async def tunnel_recreated(world: World) -> bool:
    """A tunnel is deleted, and created again with another interface index."""
    a, b = two_nodes(world)
    device = f"to-{b.name}"
    if is_cut(world, a, b) or device not in a.kernel.devices:
        return False
    network, ends = world.mesh.network, (a.server.address, b.server.address)
    with (
        _disturbed(world, a, f"{device} is recreated"),
        world.disturbances.disturbed(aftermath(world), *between(a, b)),
        world.disturbances.disturbed(world.plan.hold_time, *claims_between(a, b)),
    ):
        network.partition(*ends)
        a.kernel.remove_link(device)
        await trio.sleep(world.rng.choice((0.01, 1, 10)))
        a.kernel.add_tunnel(device)
        address = f"{format_address(a.server.address)} peer {format_address(b.server.address)}/32"
        a.kernel.add_address(device, address)
        network.heal(*ends)
    return True


@fault
async def data_interface_recreated(world: World) -> bool:
    """OpenVPN restarts without persist-tun: its interface is created anew."""
    node = _any(world)
    if "tun0" not in node.kernel.devices:
        return False
    address = Prefix.parse(node.server.data_address)
    with (
        _disturbed(world, node, "tun0 is recreated"),
        world.disturbances.disturbed(aftermath(world), ("prefix", address)),
    ):
        node.kernel.remove_link("tun0")
        await trio.sleep(world.rng.choice((0.01, 1, 10)))
        node.kernel.add_tunnel("tun0")
        node.kernel.add_address("tun0", f"{node.server.data_address}/24")
        node.add_own_routes()
    return True


@fault
async def nexthops_vanish(world: World) -> bool:
    """Another program deletes nexthops, and with them routes without a notification."""
    node = _any(world)
    ours = [i for i, (_, protocol) in node.kernel.nexthops.items() if protocol == PROTOCOL]
    if not ours:
        return False
    with _disturbed(world, node, "nexthops vanish"):
        for id_ in world.rng.sample(ours, world.rng.randint(1, len(ours))):
            node.kernel.remove_nexthop(id_)
        await trio.lowlevel.checkpoint()
    return True


@fault
async def rules_vanish(world: World) -> bool:
    """Another program deletes the rules for our table; the notification is lost."""
    node = _any(world)
    if not node.kernel.rule_list:
        return False
    with _disturbed(world, node, "rules vanish"):
        node.kernel.rule_list.clear()
        await trio.lowlevel.checkpoint()
    return True


@fault
async def notifications_overflow(world: World) -> bool:
    """Routes of ours are deleted, and the notifications are lost: ENOBUFS."""
    node = _any(world)
    ours = [place for place, entry in node.kernel.routes.items() if entry.protocol == PROTOCOL]
    with _disturbed(world, node, "notifications overflow"):
        for place in world.rng.sample(ours, world.rng.randint(0, len(ours))):
            del node.kernel.routes[place]
        node.kernel.lose_notices()
        await trio.lowlevel.checkpoint()
    return True


@fault
async def foreign_route(world: World) -> bool:
    """Another program has a route for a prefix of ours: beside ours, or in its place."""
    node = _any(world)
    kernel = node.kernel
    device = one_of(world, world.plan.devices)
    assert device is not None
    prefix, metric = f"{device.address}/32", world.rng.choice((METRIC, METRIC, 10, 100))
    place = Place(Prefix.parse(prefix), kernel.table, metric)
    entry = kernel.routes.get(place)
    if entry is not None and entry.protocol != PROTOCOL:
        return False
    stays = world.rng.random() < 0.3
    with _disturbed(world, node, f"foreign route {prefix} metric {metric}, {stays=}"):
        put = kernel.add_route if entry is None else kernel.steal_route
        put(prefix, "eth0", metric, table=kernel.table)
        if not stays:
            await trio.sleep(world.rng.uniform(0.01, 20))
            kernel.remove_route(prefix, metric, table=kernel.table)
    return True


@fault
async def foreign_nexthop(world: World) -> bool:
    """Another program takes one of our nexthop ids."""
    node = _any(world)
    ours = [i for i, (_, protocol) in node.kernel.nexthops.items() if protocol == PROTOCOL]
    if not ours:
        return False
    with _disturbed(world, node, "a nexthop id of ours is taken by another program"):
        id_ = world.rng.choice(ours)
        node.kernel.steal_nexthop(id_, "eth0", 4)
        await trio.sleep(world.rng.uniform(0.01, 20))
        node.kernel.remove_nexthop(id_)
    return True


@fault
async def kernel_refuses(world: World) -> bool:
    """Some changes are refused: EBUSY, ENETUNREACH, EEXIST, ENOMEM."""
    node = _any(world)
    if ("kernel", node.name, "refuses") in world.busy:
        return False
    number, share = world.rng.choice(REFUSALS), world.rng.choice((0.1, 0.5, 1.0))

    def refuses(change: Change) -> int:
        if change.op is Op.DELETE and number == errno.EEXIST:
            return 0
        if isinstance(change.what, Nexthop) and share == 1.0 and number == errno.EEXIST:
            return 0  # all nexthop ids in use: no invariant covers that
        return number if world.rng.random() < share else 0

    with (
        _disturbed(world, node, f"refuses {share:.0%}: {errno.errorcode[number]}"),
        world.occupied(("kernel", node.name, "refuses")),
    ):
        node.kernel.refuses = refuses
        await trio.sleep(world.rng.uniform(0.1, 10))
        node.kernel.refuses = lambda _: 0
    return True


def address_retry(node: Node, seconds: float) -> float:
    """Seconds after which *node* has tried again to set an address, refused for *seconds*.

    Its pauses double, also from one such fault to the next.
    """
    node.address_faults += 1
    return seconds + 3 if node.address_faults == 1 else MAX_ADDRESS_RETRY


@fault
async def kernel_does_not_answer(world: World) -> bool:
    """Netlink itself fails."""
    node = _any(world)
    if node.kernel.broken is not None or not node.running:
        return False
    seconds = world.rng.uniform(0.05, 10)
    with (
        _disturbed(world, node, "does not answer"),
        world.disturbances.disturbed(address_retry(node, seconds), ("addresses", node.name)),
    ):
        node.kernel.broken = KernelError("no answer", errno.ENOBUFS)
        await trio.sleep(seconds)
        node.kernel.broken = None
    return True
