"""Removing all that is ours from a kernel: at a daemon's end, or after one."""

from __future__ import annotations

import os

from cuberouted.routing.fib import ALREADY_GONE
from cuberouted.routing.port import KernelError, KernelPort
from cuberouted.routing.values import Change, Installed, Nexthop, Route, StrayRoute, Verb, described


async def remove_all(kernel: KernelPort) -> int:
    """Remove every route, nexthop and rule of ours. Returns how many routes there were.

    Raises:
      KernelError: not all could be removed; what could be is.
    """
    found = await kernel.dump()
    refusals = await kernel.apply(removal(found))
    await kernel.set_rules(present=False)
    left = [refusal for refusal in refusals if refusal.errno not in ALREADY_GONE]
    if left:
        first, *more = left
        what, why = described(first.change.what), first.why or os.strerror(first.errno)
        rest = f" and {len(more)} more" if more else ""
        raise KernelError(f"{what}{rest} cannot be removed: {why}", first.errno)
    return len(found.routes) + len(found.strays)


def removal(found: Installed) -> list[Change]:
    """What removes all of *found*. A nexthop object takes its routes with it."""
    orphans = [route for route in found.routes.values() if route.nexthop not in found.nexthops]
    gone: list[Nexthop | Route | StrayRoute] = [
        *found.nexthops.values(),
        *orphans,
        *found.strays,
    ]
    return [Change(Verb.DELETE, what) for what in gone]
