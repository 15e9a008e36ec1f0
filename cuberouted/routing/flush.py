"""Removes everything that is ours from a kernel, when the daemon ends or afterwards."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

from cuberouted.model import format_address
from cuberouted.routing.fib import ALREADY_GONE
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.types import (
    FAMILIES,
    Change,
    KernelState,
    Nexthop,
    Op,
    Route,
    StrayRoute,
    describe,
)


class Flushed(NamedTuple):
    """How many routes and addresses were removed."""

    routes: int
    addresses: int


async def flush(kernel: KernelApi) -> Flushed:
    """Remove every route, nexthop object, rule and address of ours. Return what was there.

    Raises:
      KernelError: something could not be removed; everything else is.
    """
    state = await kernel.dump()
    errors = await kernel.apply(flush_changes(state))
    await kernel.set_rules(present=False)
    addresses = await _flush_addresses(kernel)
    remaining = [error for error in errors if error.errno not in ALREADY_GONE]
    if remaining:
        first, *more = remaining
        what, why = describe(first.change.what), first.message or os.strerror(first.errno)
        rest = f" and {len(more)} more" if more else ""
        raise KernelError(f"{what}{rest} cannot be removed: {why}", first.errno)
    return Flushed(len(state.routes) + len(state.strays), addresses)


async def flush_commands(kernel: KernelApi, protocol: int) -> list[str]:
    """The commands of iproute2 that remove what `flush` would; none if there is nothing."""
    state = await kernel.dump()
    # a nexthop object's routes go with it, but not those that have none
    commands = [f"ip nexthop flush proto {protocol}"] if state.nexthops else []
    prefixes = [*state.routes, *(stray.prefix for stray in state.strays)]
    rules = [rule for rule in await kernel.dump_rules() if rule.protocol == protocol]
    for family in FAMILIES:
        ip = "ip -6" if family == socket.AF_INET6 else "ip -4"
        if any(prefix.family == family for prefix in prefixes):
            commands.append(f"{ip} route flush table all proto {protocol}")
        if any(rule.family == family for rule in rules):
            commands.append(f"{ip} rule flush protocol {protocol}")
    commands += [
        f"ip address del {format_address(address)} dev {link.name}"
        for link in await kernel.links()
        for address in sorted(link.ours)
    ]
    return commands


async def _flush_addresses(kernel: KernelApi) -> int:
    """Remove every address of ours. Return their number. Raises KernelError after the last one."""
    ours = [(link.index, address) for link in await kernel.links() for address in link.ours]
    refusal: KernelError | None = None
    for device, address in ours:
        try:
            await kernel.set_address(device, address, present=False)
        except KernelError as error:
            refusal = error
    if refusal is not None:
        raise refusal
    return len(ours)


def flush_changes(state: KernelState) -> list[Change]:
    """The deletions that remove all of *state*. A nexthop object's routes go with it.

    Networks go first, so that no packet follows one after the longer routes inside it have gone.
    """
    networks = [route for prefix, route in state.routes.items() if not prefix.is_host]
    networks.sort(key=lambda route: route.prefix.length)
    orphans = [
        route
        for prefix, route in state.routes.items()
        if route.nexthop not in state.nexthops and prefix.is_host
    ]
    objects: list[Nexthop | Route | StrayRoute] = [
        *networks,
        *state.nexthops.values(),
        *orphans,
        *state.strays,
    ]
    return [Change(Op.DELETE, what) for what in objects]
