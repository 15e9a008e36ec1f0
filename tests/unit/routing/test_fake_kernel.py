"""The fake kernel keeps the promises that the real one keeps (tests/lab/test_kernel.py)."""

from __future__ import annotations

import pytest

from cuberouted.routing.kernel_api import KernelApi, KernelError
from tests.fakes.conformance import CHECKS, METRIC, PROTOCOL, TABLES, Check
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_driver import MAIN, KernelDriver


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_kernel_keeps_its_promise(check: Check, table: int) -> None:
    kernel = FakeKernel(table, METRIC, PROTOCOL)
    port: KernelApi = kernel
    world: KernelDriver = kernel
    await check(port, world, table)


async def test_a_broken_kernel_says_so_until_it_is_mended() -> None:
    kernel = FakeKernel(MAIN, METRIC, PROTOCOL)
    kernel.broken = KernelError("out of memory")
    with pytest.raises(KernelError, match="out of memory"):
        await kernel.dump()
    kernel.broken = None
    assert (await kernel.dump()).routes == {}


async def test_lost_notices_are_told_as_lost() -> None:
    kernel = FakeKernel(MAIN, METRIC, PROTOCOL)
    kernel.add_tunnel("tun0")
    kernel.lose_notices()
    notices = await kernel.events()
    assert (notices.links, notices.lost) == (False, True)
