"""Which node should have each service address once everything has settled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tests.fakes import forwarding
from tests.fakes.forwarding import LOCAL_DEVICE
from tests.simulation.oracle import is_blocked
from tests.simulation.service_monitor import (
    LOOK_INTERVAL,
    MARGIN,
    ServiceMonitor,
    has_address,
    hears,
    is_reached,
)
from tests.simulation.service_plan import Seat, ServicePlan
from tests.simulation.world import Node, World

SETTLE_TIME = 0.5
"""Seconds for which a claim has been known before its node takes an address."""


def parts(world: World) -> list[list[Node]]:
    """The parts of the mesh between which no messages pass; only those in which all do."""
    rest, found = [node for node in world.nodes if node.running], list[list[Node]]()
    while rest:
        part = [rest[0]]
        for node in part:
            part += [n for n in rest if n not in part and is_reached(n, node)]
        rest = [node for node in rest if node not in part]
        if all(hears(a, b) for a in part for b in part if a is not b):
            found.append(sorted(part, key=lambda node: node.name))
    return found


def holders_in(part: Sequence[Node], service: ServicePlan) -> list[Node]:
    """The nodes of *part* that have the address."""
    return [node for node in part if has_address(node, service)]


def may_keep(node: Node, service: ServicePlan, part: Sequence[Node]) -> bool:
    """Whether *node*, which has the address, has no reason to give it up."""
    seat = service.seats.get(node.name)
    if seat is None or not _has_section(node, service) or not node.is_active:
        return False
    if service.witness and len(part) == 1:
        return False
    return not seat.check_interval or _succeeds(node, service, "check", seat.check_timeout)


def may_take(node: Node, service: ServicePlan, part: Sequence[Node]) -> bool:
    """Whether *node* may take the address, and everything that has to succeed for it does."""
    if not may_keep(node, service, part):
        return False
    seat = service.seats[node.name]
    is_whole = len(part) == len(node.world.nodes)
    needed = [p for p in seat.programs if p == "on_acquire" or (p == "fence" and not is_whole)]
    return all(_succeeds(node, service, one, seat.command_timeout) for one in needed)


def _succeeds(node: Node, service: ServicePlan, program: str, time_limit: float) -> bool:
    return node.commands.succeeds(program, service.name, time_limit)


def service_violations(world: World) -> Iterator[str]:
    """What is wrong with services after everything has settled."""
    for part in parts(world):
        for service in world.plan.services:
            names = "".join(node.name for node in part)
            for wrong in (*_of_holders(part, service), *_undelivered(world, part, service)):
                yield f"service {service.name} in {names}: {wrong}"


def _of_holders(part: Sequence[Node], service: ServicePlan) -> Iterator[str]:
    able = [node for node in part if may_take(node, service, part)]
    have, may = holders_in(part, service), [node.name for node in able]
    names = [node.name for node in have]
    yield from (f"{n.name} has it without a section" for n in have if not _has_section(n, service))
    if service.witness and len(part) == 1 and have:
        yield f"{names[0]} has it, and hears nobody"
    if service.nearest:
        if able and not (set(able) <= set(have) and all(may_keep(n, service, part) for n in have)):
            yield f"{names} have it, {may} may"
    elif len(have) > 1:
        yield f"{names} have it"
    elif able and not have:
        yield f"nobody has it, {may} may"
    elif able:
        yield from _of_holder(have[0], able, part, service)


def _has_section(node: Node, service: ServicePlan) -> bool:
    return service.name in node.priorities


def _of_holder(
    holder: Node, able: Sequence[Node], part: Sequence[Node], service: ServicePlan
) -> Iterator[str]:
    """What is wrong with this holder; *able*: the nodes that may have the address."""
    if not may_keep(holder, service, part):
        yield f"{holder.name} has it and should not, {[node.name for node in able]} may"
        return
    for node in able:
        higher = node.priorities[service.name] > holder.priorities[service.name]
        if higher and service.seats[node.name].preempt is not None:
            yield f"{node.name} does not take it from {holder.name}, which has a lower priority"


def _undelivered(world: World, part: Sequence[Node], service: ServicePlan) -> Iterator[str]:
    have = [node.name for node in holders_in(part, service)]
    kernels = {node.name: node.kernel for node in world.nodes}
    tunnels = {(a.name, f"to-{b.name}"): b.name for a in world.nodes for b in a.others}
    for node in part if have else ():
        if is_blocked(node, service.prefix):
            continue
        way = forwarding.walk(kernels, tunnels, node.name, service.prefix.address)
        if way.end != LOCAL_DEVICE or way.at not in have:
            yield f"a packet from {node.name} does not come to {have}: {way}"


# -- how long it takes --


def settled_at(world: World, monitor: ServiceMonitor, since: float) -> float:
    """When every service is where it should be, if one thing has changed and nothing *since*."""
    plan = world.plan
    seats = [
        (service, node, seat)
        for service in plan.services
        for node in world.nodes
        if (seat := service.seats.get(node.name)) is not None
    ]
    began = max([since, *(_retry_at(monitor, service, node) for service, node, _ in seats)])
    longest = max((_time_of(world, *seat) for seat in seats), default=0.0)
    # a node that is lost, or starts: its hold time; one that is to restart: so long its claim stays
    restarting = any(node.goodbye_sent and not node.running for node in world.nodes)
    detection = 2 * plan.hold_time + (plan.restart_time if restarting else 0.0)
    return began + detection + SETTLE_TIME + 4 * LOOK_INTERVAL + MARGIN + longest


def _time_of(world: World, service: ServicePlan, node: Node, seat: Seat) -> float:
    checks = (max(seat.rise, seat.fall) + 1) * (seat.check_interval + seat.check_timeout)
    commands = sum(
        min(node.commands.behaviour(program, service.name).duration, seat.command_timeout)
        * (len(world.nodes) if program == "fence" else 2)
        for program in seat.programs
    )
    return checks + commands + (seat.preempt or 0.0)


def _retry_at(monitor: ServiceMonitor, service: ServicePlan, node: Node) -> float:
    """When it tries again after its last failures, if it will succeed then."""
    holding = monitor.holding(node, service)
    if not holding.failures or not may_take(node, service, node.world.nodes):
        return -math.inf
    return holding.retry_at


def successor(monitor: ServiceMonitor, part: Sequence[Node], service: ServicePlan) -> Node | None:
    """Who of *part* takes an address that nobody has; None: that depends on more."""
    able = [node for node in part if may_take(node, service, part)]
    if not able or any(monitor.holding(node, service).failures for node in able):
        return None
    return min(able, key=lambda node: (-node.priorities[service.name], node.name))


def can_lose(node: Node, service: ServicePlan, part: Sequence[Node]) -> bool:
    """Whether there is a reason for which *node* gives the address to another node of *part*."""
    if not may_keep(node, service, part):
        return True
    own = node.priorities[service.name]
    return any(
        other.priorities.get(service.name, -math.inf) > own
        and service.seats[other.name].preempt is not None
        for other in part
        if other is not node and service.name in other.priorities
    )
