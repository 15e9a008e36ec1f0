"""What the commands do in the kernel themselves, without the daemon."""

from __future__ import annotations

from cuberouted.api.report import RouteInfos, Routes, routes
from cuberouted.config import Config
from cuberouted.routing.flush import flush
from cuberouted.routing.linux.kernel import open_kernel


async def read_routes(config: Config, owners: RouteInfos | None) -> Routes:
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
        return await flush(kernel)
