"""The addresses of services as they are read from the kernel."""

from __future__ import annotations

import trio

from cuberouted.daemon.service_addresses import MIN_INTERVAL, ServiceAddresses
from cuberouted.events import Event
from cuberouted.model import Prefix
from cuberouted.routing.types import Link
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_driver import MAIN

TEXT = "10.9.0.200"
ADDRESS = Prefix.parse(TEXT).address


class SlowKernel(FakeKernel):
    """Somebody removes the address while an answer is on the way, if ``removes`` is set."""

    removes: ServiceAddresses | None = None

    async def links(self) -> tuple[Link, ...]:
        """See `KernelApi`."""
        links = await super().links()
        addresses, self.removes = self.removes, None
        if addresses is not None:
            self.remove_address("lo", f"{TEXT}/32")
            addresses.links_changed()
            await trio.sleep(0.01)
        return links


async def test_a_change_while_the_links_are_read_is_read_as_well(autojump_clock):
    kernel = SlowKernel(MAIN, 50, 201)
    addresses = ServiceAddresses(kernel, "lo", list[Event]().append)
    await addresses.refresh({ADDRESS})
    assert await addresses.set("db", ADDRESS, present=True)
    addresses.links_changed()
    await trio.sleep(MIN_INTERVAL)
    kernel.removes = addresses
    await addresses.refresh({ADDRESS})
    assert ADDRESS in addresses
    assert addresses.deadline <= trio.current_time() + MIN_INTERVAL
    await trio.sleep_until(addresses.deadline)
    await addresses.refresh({ADDRESS})
    assert ADDRESS not in addresses
