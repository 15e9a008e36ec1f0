"""Removing all that is ours from a kernel: at a daemon's end, or after one."""

from __future__ import annotations

import os

from cuberouted.routing.fib import ALREADY_GONE
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.types import Change, KernelState, Nexthop, Op, Route, StrayRoute, describe


async def flush(kernel: KernelApi) -> int:
    """Remove every route, nexthop and rule of ours. Returns how many routes there were.

    Raises:
      KernelError: not all could be removed; what could be is.
    """
    found = await kernel.dump()
    refusals = await kernel.apply(flush_changes(found))
    await kernel.set_rules(present=False)
    left = [refusal for refusal in refusals if refusal.errno not in ALREADY_GONE]
    if left:
        first, *more = left
        what, why = describe(first.change.what), first.why or os.strerror(first.errno)
        rest = f" and {len(more)} more" if more else ""
        raise KernelError(f"{what}{rest} cannot be removed: {why}", first.errno)
    return len(found.routes) + len(found.strays)


def flush_changes(found: KernelState) -> list[Change]:
    """What removes all of *found*. A nexthop object takes its routes with it."""
    orphans = [route for route in found.routes.values() if route.nexthop not in found.nexthops]
    gone: list[Nexthop | Route | StrayRoute] = [
        *found.nexthops.values(),
        *orphans,
        *found.strays,
    ]
    return [Change(Op.DELETE, what) for what in gone]
