"""What the commands do in the kernel themselves, without the daemon."""

from __future__ import annotations

import os

from cuberouted.config import Config
from cuberouted.report import Owners, Routes, routes
from cuberouted.routing.fib import ALREADY_GONE, removal
from cuberouted.routing.kernel import open_kernel
from cuberouted.routing.port import KernelError, KernelPort
from cuberouted.routing.values import described


async def read_routes(config: Config, owners: Owners | None) -> Routes:
    """Every route of ours in the kernel, with what the daemon knows of it."""
    async with open_kernel(
        config.route_table, config.route_metric, config.route_protocol
    ) as kernel:
        return routes(await kernel.dump(), await kernel.links(), owners)


async def flush_routes(config: Config) -> int:
    """`remove_all` in this host's kernel."""
    async with open_kernel(
        config.route_table, config.route_metric, config.route_protocol
    ) as kernel:
        return await remove_all(kernel)


async def remove_all(kernel: KernelPort) -> int:
    """Remove every route, nexthop and rule of ours. Returns how many routes there were.

    Raises:
      KernelError: not all could be removed.
    """
    found = await kernel.dump()
    for refusal in await kernel.apply(removal(found)):
        if refusal.errno not in ALREADY_GONE:
            what, why = described(refusal.change.what), refusal.why or os.strerror(refusal.errno)
            raise KernelError(f"{what} cannot be removed: {why}", refusal.errno)
    await kernel.set_rules(present=False)
    return len(found.routes) + len(found.strays)
