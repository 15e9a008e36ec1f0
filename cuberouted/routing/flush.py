"""Removes everything that is ours from a kernel, when the daemon ends or afterwards."""

from __future__ import annotations

import os
from typing import NamedTuple

from cuberouted.routing.fib import ALREADY_GONE
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.types import (
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
