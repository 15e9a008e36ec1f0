"""Time to add, dump and delete 20,000 routes: `python -m tests.bench.kernel`, as root.

In a namespace of its own; each figure is the best of five. The longest stall is how long
other tasks of the daemon had to wait meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from socket import AF_INET, AF_INET6

import trio

from cuberouted.model import Prefix
from cuberouted.routing.linux.kernel import Kernel, open_kernel
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import Change, Nexthop, Op, Route
from cuberouted.util.tasks import run_trio
from tests.lab.kernel_driver import RealWorld

ROUTES = 20_000
ROUNDS = 5
BEGIN4 = 0x0A090000
BEGIN6 = 0xFD09 << 112


class Stalls:
    """The longest time between two turns of a task that is always ready."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            begin = time.perf_counter()
            await trio.lowlevel.checkpoint()
            self.longest = max(self.longest, time.perf_counter() - begin)


class Figures:
    """The best time of each operation."""

    def __init__(self) -> None:
        self._best: dict[str, tuple[float, float]] = {}

    async def measure(self, what: str, operation: Callable[[], Awaitable[object]]) -> None:
        """Time *operation* once."""
        stalls = Stalls()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stalls.watch)
            await trio.lowlevel.checkpoint()
            begin = time.perf_counter()
            await operation()
            took = time.perf_counter() - begin
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        self._best[what] = min(self._best.get(what, (took, stalls.longest)), (took, stalls.longest))

    def show(self) -> None:
        """Print them."""
        for what, (took, stall) in self._best.items():
            rate = f"{ROUTES / took:,.0f}/s"
            print(f"{what:32} {took * 1e3:8.1f} ms {rate:>14}   longest stall {stall * 1e3:.1f} ms")


async def measure(kernel: Kernel, figures: Figures, label: str, via: Nexthop, begin: int) -> None:
    """Add, dump and delete ROUTES routes, one by one and by their nexthop."""
    size = 4 if via.family == AF_INET else 16
    routes = [
        Route(Prefix.host((begin + n).to_bytes(size)), via.id, None) for n in range(1, ROUTES + 1)
    ]
    adds = [Change(Op.ADD, route) for route in routes]
    deletes = [Change(Op.DELETE, route) for route in routes]
    assert await kernel.apply([Change(Op.ADD, via)]) == ()
    await figures.measure(f"{label}: add", lambda: kernel.apply(adds))
    await figures.measure(f"{label}: dump ours", kernel.dump)
    await figures.measure(f"{label}: refused (there already)", lambda: kernel.apply(adds))
    await figures.measure(f"{label}: delete one by one", lambda: kernel.apply(deletes))
    assert await kernel.apply(adds) == ()
    await figures.measure(
        f"{label}: delete by nexthop", lambda: kernel.apply([Change(Op.DELETE, via)])
    )
    assert (await kernel.dump()).routes == {}


async def main() -> None:
    """Measure and print."""
    world = RealWorld()
    figures = Figures()
    try:
        device = world.add_tunnel("tun0")
        with world.inside():
            context = open_kernel(254, 50, 201)
            kernel = await context.__aenter__()
        for _ in range(ROUNDS):
            via = FIRST_NEXTHOP_ID
            await measure(kernel, figures, "IPv4", Nexthop(via, AF_INET, device, None), BEGIN4)
            await measure(kernel, figures, "IPv6", Nexthop(via, AF_INET6, device, None), BEGIN6)
        await context.__aexit__(None, None, None)
    finally:
        world.close()
    figures.show()


if __name__ == "__main__":
    run_trio(main)
