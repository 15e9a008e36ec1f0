"""A real kernel, in a network namespace, keeps every promise; and what only it can show."""

from __future__ import annotations

import errno
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from socket import AF_INET, AF_INET6

import pytest
import trio

from cuberouted.model import Prefix
from cuberouted.routing.linux import sockets
from cuberouted.routing.linux.kernel import Kernel, open_kernel
from cuberouted.routing.types import Change, ChangeError, ForeignRoute, Nexthop, Route
from tests.fakes.conformance import (
    CHECKS,
    HOST4,
    HOST6,
    METRIC,
    PROTOCOL,
    TABLES,
    VIA4,
    VIA6,
    Check,
    add,
    delete,
    heard,
    replace,
    until,
    with_tunnel,
)
from tests.fakes.kernel_driver import MAIN, STATIC
from tests.lab.kernel_driver import RealWorld

MANY = 20_000


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


def many(via: Nexthop) -> list[Change]:
    """As many routes through *via* as a large mesh has clients."""
    begin, size = (0x0A090000, 4) if via.family == AF_INET else (0xFD09 << 112, 16)
    hosts = (Prefix.host((begin + n).to_bytes(size)) for n in range(1, MANY + 1))
    return [add(Route(host, via.id, None)) for host in hosts]


async def test_twenty_thousand_changes_of_ours_leave_room_for_others_notices(
    world: RealWorld,
) -> None:
    async with opened(world, MAIN) as kernel:
        vias = await with_tunnel(kernel, world)
        second = world.add_tunnel("tun1")
        await heard(kernel, world, "tun0")
        for via in vias:
            assert await kernel.apply(many(via)) == ()
            assert len((await kernel.dump()).routes) == MANY
            # each moves or removes all of the routes, and could tell of every one
            assert await kernel.apply([replace(via._replace(device=second)), delete(via)]) == ()
            assert (await kernel.dump()).routes == {}
        notices = await heard(kernel, world, "tun0")
        assert (notices.lost, notices.ours, notices.added) == (False, False, ())


async def test_a_link_that_takes_twenty_thousand_routes_along_loses_no_notice(
    world: RealWorld,
) -> None:
    async with opened(world, MAIN) as kernel:
        for via in await with_tunnel(kernel, world):
            assert await kernel.apply(many(via)) == ()
        world.add_tunnel("tun1")
        world.set_up("tun0", False)
        notices = await heard(kernel, world, "tun1")
        assert (notices.links, notices.lost, notices.ours) == (True, False, False)
        assert (await kernel.dump()).routes == {}


async def test_notices_that_overflow_are_told_as_lost(
    world: RealWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "EVENT_BUFFER", 1)  # the kernel makes it its minimum, some 2 KB
    async with opened(world, MAIN) as kernel:
        device = world.add_tunnel("tun0")
        await until(kernel, lambda n: n.lost or n.links)
        for n in range(20):
            world.add_route(f"10.9.0.{n}/32", "tun0", 20)
        assert (await kernel.events()).lost
        # what was left in the buffer is forgotten: else it would still be full, and deaf
        for n in range(20):
            world.remove_route(f"10.9.0.{n}/32", 20)
            gone = (await kernel.events()).deleted
            assert gone == (ForeignRoute(Prefix.parse(f"10.9.0.{n}"), MAIN, 20, STATIC, device),)


async def test_a_dump_that_others_interrupt_is_whole(world: RealWorld) -> None:
    async with opened(world, MAIN) as kernel:
        device = world.add_tunnel("tun0")
        ours = [Nexthop(VIA4 + n, AF_INET, device, None) for n in range(2000)]
        assert await kernel.apply([*map(add, ours)]) == ()
        found = []

        async def look() -> None:
            found.append(await kernel.dump())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            for id_ in range(1, 13):  # one in each of its turns, most of which read a part
                await trio.lowlevel.checkpoint()
                world.add_nexthop(id_, "tun0", STATIC)
        assert found[0].nexthops == {nexthop.id: nexthop for nexthop in ours}


async def test_the_kernel_says_why_it_refuses(world: RealWorld) -> None:
    async with opened(world, MAIN) as kernel:
        world.add_tunnel("tun0")
        change = add(Route(Prefix.parse(HOST4), VIA4, None))
        assert await kernel.apply([change]) == (
            ChangeError(change, errno.EINVAL, "Nexthop id does not exist"),
        )


async def test_a_gateway_needs_no_network_on_its_link(world: RealWorld) -> None:
    async with opened(world, MAIN) as kernel:
        device = world.add_ethernet("eth7")
        vias = [
            Nexthop(VIA4, AF_INET, device, bytes((192, 0, 2, 7))),
            Nexthop(VIA6, AF_INET6, device, Prefix.parse("2001:db8::7").address),
        ]
        assert await kernel.apply([*map(add, vias)]) == ()
        assert (await kernel.dump()).nexthops == {via.id: via for via in vias}


async def test_a_default_route_in_our_table_carries_nothing_of_the_host(world: RealWorld) -> None:
    async with opened(world, 1000) as kernel:
        device = world.add_tunnel("tun0")
        world.add_tunnel("tun1")
        vias = Nexthop(VIA4, AF_INET, device, None), Nexthop(VIA6, AF_INET6, device, None)
        ours = (Route(Prefix.parse(HOST4), VIA4, None), Route(Prefix.parse(HOST6), VIA6, None))
        assert await kernel.apply([*map(add, vias), *map(add, ours)]) == ()
        for near, other in ((HOST4, "198.51.100.1"), (HOST6, "2001:db8::1")):
            family = "-6" if ":" in other else "-4"
            host = near.partition("/")[0]
            default = "::/0" if ":" in other else "0.0.0.0/0"
            world.add_route(default, "tun0", 20, table=1000)
            world.add_route(default, "tun1", 20)
            await kernel.set_rules(False)
            world.run("ip", family, "rule", "add", "priority", "5657", "table", "1000")
            assert "dev tun0" in world.run("ip", family, "route", "get", other)
            world.run("ip", family, "rule", "del", "priority", "5657", "table", "1000")
            await kernel.set_rules(True)
            assert "dev tun1" in world.run("ip", family, "route", "get", other)
            assert "dev tun0" in world.run("ip", family, "route", "get", host)


UNPRIVILEGED = """
import errno, socket, trio
from cuberouted.model import Prefix
from cuberouted.routing.linux.kernel import missing_capability
from cuberouted.routing.linux.kernel import open_kernel
from cuberouted.routing.types import Change, ForeignRoute, Nexthop, Op, Route

async def main():
    route = Change(Op.ADD, Route(Prefix.parse("10.9.0.1"), 1, None))
    async with open_kernel(254, 50, 201) as kernel:
        names = [link.name for link in await kernel.links()]
        refusals = await kernel.apply([route] * 1000)
    return names, {errno.errorcode[refusal.errno] for refusal in refusals}, len(refusals)

print(missing_capability(), *trio.run(main))
"""


async def test_a_process_without_the_capability_may_look_but_not_change(world: RealWorld) -> None:
    without = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    told = world.run(*without, sys.executable, "-c", UNPRIVILEGED)
    assert told == "CAP_NET_ADMIN ['lo'] {'EPERM'} 1000\n"


async def test_connections_of_this_host_do_not_begin_from_a_service_s_ipv6_address(world):
    # a tunnel without a global address of its own: the kernel takes one of another interface
    world.add_tunnel("tun0")
    world.add_address("lo", "fd08::1/128")
    world.add_route("fd09::/64", "tun0", 7)
    async with opened(world, MAIN) as kernel:
        [lo] = [link for link in await kernel.links() if link.name == "lo"]
        shared = Prefix.parse("fd09::200").address
        await kernel.set_address(lo.index, shared, present=True)
        route = world.run("ip", "-6", "route", "get", "fd09::5")
        assert "src fd08::1" in route
        assert " dev tun0 " in route
