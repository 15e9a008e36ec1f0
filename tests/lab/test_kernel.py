"""A real kernel, in a network namespace, keeps every promise; and what only it can show."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from cuberouted.routing.kernel import Kernel, open_kernel
from tests.conformance_kernel import CHECKS, METRIC, PROTOCOL, TABLES, Check
from tests.lab.real_world import RealWorld


@pytest.fixture
def world() -> Iterator[RealWorld]:
    world = RealWorld()
    try:
        yield world
    finally:
        world.close()


@asynccontextmanager
async def opened(world: RealWorld, table: int) -> AsyncIterator[Kernel]:
    context = open_kernel(table, METRIC, PROTOCOL)
    with world.inside():  # entering has no wait, so no other task is in there with us
        kernel = await context.__aenter__()
    try:
        yield kernel
    finally:
        await context.__aexit__(None, None, None)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_kernel_keeps_its_promise(check: Check, table: int, world: RealWorld) -> None:
    async with opened(world, table) as kernel:
        await check(kernel, world, table)
