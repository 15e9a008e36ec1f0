"""What every kernel must do that the daemon is given, the real one and the fake.

Each check has a kernel that keeps routes in *table*, with METRIC and PROTOCOL, and holds
none yet; and its world. Source: `kernel_api.KernelApi`.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Awaitable, Callable
from socket import AF_INET, AF_INET6, inet_pton

import pytest
import trio

from cuberouted.model import Prefix
from cuberouted.routing.flush import flush
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import (
    FAMILIES,
    LOCAL_TABLE,
    RTN_BLACKHOLE,
    RTN_LOCAL,
    Address,
    Change,
    ChangeError,
    ForeignRoute,
    KernelEvents,
    Link,
    Nexthop,
    Op,
    Route,
    RouteLookup,
    StrayRoute,
    our_rule,
)
from tests.fakes.kernel_driver import MAIN, STATIC, KernelDriver

METRIC, PROTOCOL = 50, 201

TABLES = (MAIN, 1000)
"""Each check is made with both, and must find ELSEWHERE none of its business."""

ELSEWHERE = 1001

Check = Callable[[KernelApi, KernelDriver, int], Awaitable[None]]

VIA4, VIA6 = FIRST_NEXTHOP_ID, FIRST_NEXTHOP_ID + 2
HOST4, HOST6 = "10.9.0.1/32", "fd09::1/128"
PATIENCE = 5.0
"""Seconds: what a kernel tells, it tells at once."""


def add(what: Nexthop | Route) -> Change:
    return Change(Op.ADD, what)


def replace(what: Nexthop) -> Change:
    return Change(Op.REPLACE, what)


def delete(what: Nexthop | Route | StrayRoute) -> Change:
    return Change(Op.DELETE, what)


def route(prefix: str, nexthop: int, source: str | None = None) -> Route:
    packed = None if source is None else Prefix.parse(source).address
    return Route(Prefix.parse(prefix), nexthop, packed)


def errors(refusals: tuple[ChangeError, ...]) -> list[str]:
    return [errno.errorcode[refusal.errno] for refusal in refusals]


async def heard(kernel: KernelApi, world: KernelDriver, device: str) -> KernelEvents:
    """All that the kernel has told so far: what comes before a route that is added now."""
    mark = "203.0.113.9/32"
    world.add_route(mark, device, 7)
    world.remove_route(mark, 7)
    came: list[KernelEvents] = []
    with trio.fail_after(PATIENCE):
        while not any(route.prefix == Prefix.parse(mark) for n in came for route in n.deleted):
            came.append(await kernel.events())
    return KernelEvents(
        links=any(n.links for n in came),
        ours=any(n.ours for n in came),
        lost=any(n.lost for n in came),
        rules=any(n.rules for n in came),
        added=tuple(r for n in came for r in n.added if r.prefix != Prefix.parse(mark)),
        deleted=tuple(r for n in came for r in n.deleted if r.prefix != Prefix.parse(mark)),
    )


async def until(kernel: KernelApi, told: Callable[[KernelEvents], object]) -> KernelEvents:
    """The first notices that tell what *told* looks for."""
    with trio.fail_after(PATIENCE):
        while not told(notices := await kernel.events()):
            pass
    return notices


async def foreign(kernel: KernelApi, table: int, within: str) -> list[ForeignRoute]:
    """The foreign routes in *table* inside a network."""
    network = Prefix.parse(within)
    return [*await kernel.foreign_routes(lambda r: r.table == table and network.contains(r.prefix))]


async def with_tunnel(kernel: KernelApi, world: KernelDriver) -> tuple[Nexthop, Nexthop]:
    """A tunnel tun0, and a nexthop of each family through it."""
    device = world.add_tunnel("tun0")
    via = Nexthop(VIA4, AF_INET, device, None), Nexthop(VIA6, AF_INET6, device, None)
    assert await kernel.apply([add(nexthop) for nexthop in via]) == ()
    return via


# -- links --


async def links_tell_their_kind_state_and_addresses(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    tun, eth = world.add_tunnel("tun0"), world.add_ethernet("eth7")
    world.add_address("tun0", "10.9.0.101/24")
    world.add_address("tun0", "fd09::101/64")
    links = {link.name: link for link in await kernel.links()}
    addresses = (
        Address(inet_pton(AF_INET, "10.9.0.101"), Prefix.parse("10.9.0.0/24")),
        Address(inet_pton(AF_INET6, "fd09::101"), Prefix.parse("fd09::/64")),
    )
    assert links["tun0"] == Link(tun, "tun0", True, True, addresses)
    assert links["eth7"] == Link(eth, "eth7", True, False, ())


async def a_link_has_its_alternative_names(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    world.add_tunnel("tun0")
    assert [link.altnames for link in await kernel.links() if link.name == "tun0"] == [()]
    await heard(kernel, world, "tun0")
    world.add_altname("tun0", "mgmt-to-b")
    world.add_altname("tun0", "a-name-of-more-than-15-characters")
    await until(kernel, lambda n: n.links)
    [link] = [link for link in await kernel.links() if link.name == "tun0"]
    assert link.altnames == ("mgmt-to-b", "a-name-of-more-than-15-characters")


async def a_link_runs_while_it_is_up_and_has_a_carrier(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    async def running() -> list[bool]:
        return [link.running for link in await kernel.links() if link.name == "tun0"]

    world.add_tunnel("tun0")
    assert await running() == [True]
    world.set_carrier("tun0", False)
    assert await running() == [False]
    world.set_carrier("tun0", True)
    world.set_up("tun0", False)
    assert await running() == [False]
    world.remove_link("tun0")
    assert await running() == []


async def a_change_of_links_or_addresses_is_told(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    world.add_tunnel("tun0")
    await until(kernel, lambda n: n.links)
    await heard(kernel, world, "tun0")
    world.add_address("tun0", "10.9.0.101/24")
    await until(kernel, lambda n: n.links)
    await heard(kernel, world, "tun0")
    world.remove_link("tun0")
    await until(kernel, lambda n: n.links)


# -- addresses of services --


async def link_called(kernel: KernelApi, name: str) -> Link:
    return next(link for link in await kernel.links() if link.name == name)


async def is_local(kernel: KernelApi, address: bytes) -> bool:
    found = (await kernel.lookup(address)).route
    return found is not None and found.type == RTN_LOCAL


SERVICE_ADDRESSES = tuple(Prefix.parse(text).address for text in ("10.9.0.200", "fd09::200"))


async def an_address_is_there_once_or_not_at_all(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    world.add_tunnel("tun0")
    world.add_address("tun0", "10.9.0.101/24")
    for address, name in itertools.product(SERVICE_ADDRESSES, ("lo", "tun0")):
        before = await kernel.links()
        host = Prefix.host(address)
        device = (await link_called(kernel, name)).index
        for _ in range(2):
            await kernel.set_address(device, address, present=True)
            link = await link_called(kernel, name)
            assert link.addresses.count(Address(address, host)) == 1
            assert link.ours == {address}
            with trio.fail_after(PATIENCE):  # Linux adds the route of an IPv6 address a bit later
                while not await is_local(kernel, address):
                    pass
            assert await foreign(kernel, MAIN, str(host)) == []
        for _ in range(2):
            await kernel.set_address(device, address, present=False)
            assert await kernel.links() == before


async def an_address_of_somebody_else_is_not_ours(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    world.add_tunnel("tun0")
    for name, text in (("lo", "10.9.0.200/32"), ("lo", "fd09::200/128"), ("tun0", "fd09::9/128")):
        world.add_address(name, text)
        before = await kernel.links()
        device, address = (await link_called(kernel, name)).index, Prefix.parse(text).address
        await kernel.set_address(device, address, present=True)
        assert await flush(kernel) == (0, 0)
        assert await kernel.links() == before
        await kernel.set_address(device, address, present=False)
        assert address not in [a.local for a in (await link_called(kernel, name)).addresses]


async def a_flush_takes_our_addresses(kernel: KernelApi, world: KernelDriver, table: int) -> None:
    world.add_tunnel("tun0")
    before = await kernel.links()
    for name, address in itertools.product(("lo", "tun0"), SERVICE_ADDRESSES):
        device = (await link_called(kernel, name)).index
        await kernel.set_address(device, address, present=True)
    assert await flush(kernel) == (0, 4)
    assert await kernel.links() == before


async def an_address_that_we_add_is_told(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    world.add_tunnel("tun0")
    lo = (await link_called(kernel, "lo")).index
    for address, present in itertools.product(SERVICE_ADDRESSES, (True, False)):
        await heard(kernel, world, "tun0")
        await kernel.set_address(lo, address, present=present)
        assert (await until(kernel, lambda n: n.links)).lost is False


async def an_address_needs_a_device(kernel: KernelApi, world: KernelDriver, table: int) -> None:
    for address, present in itertools.product(SERVICE_ADDRESSES, (True, False)):
        with pytest.raises(KernelError) as refused:
            await kernel.set_address(4242, address, present=present)
        assert refused.value.errno == errno.ENODEV


# -- changes, and how they are refused --


async def what_is_added_is_found(kernel: KernelApi, world: KernelDriver, table: int) -> None:
    world.add_ethernet("eth7")
    device = world.add_tunnel("tun0")
    eth = next(link.index for link in await kernel.links() if link.name == "eth7")
    world.add_address("tun0", "10.9.0.101/24")
    world.add_address("tun0", "fd09::101/64")
    nexthops = [
        Nexthop(VIA4, AF_INET, device, None),
        Nexthop(VIA6, AF_INET6, device, None),
        Nexthop(VIA4 + 4, AF_INET, eth, inet_pton(AF_INET, "192.0.2.7")),
        Nexthop(VIA6 + 4, AF_INET6, eth, inet_pton(AF_INET6, "2001:db8::7")),
    ]
    routes = [
        route("10.9.0.1/32", VIA4, "10.9.0.101"),
        route("10.9.0.2/32", VIA4),
        route("10.77.0.0/16", VIA4 + 4),
        route("fd09::1/128", VIA6, "fd09::101"),
        route("fd09::2/128", VIA6),
        route("fd77::/48", VIA6 + 4),
    ]
    assert await kernel.apply([*map(add, nexthops), *map(add, routes)]) == ()
    found = await kernel.dump()
    assert found.nexthops == {nexthop.id: nexthop for nexthop in nexthops}
    assert found.routes == {route.prefix: route for route in routes}
    assert found.strays == ()


async def what_is_deleted_is_gone(kernel: KernelApi, world: KernelDriver, table: int) -> None:
    via = await with_tunnel(kernel, world)
    routes = [route(HOST4, VIA4), route("10.9.0.2/32", VIA4), route(HOST6, VIA6)]
    assert await kernel.apply([*map(add, routes)]) == ()
    assert await kernel.apply([delete(routes[0]), delete(routes[2]), delete(via[1])]) == ()
    found = await kernel.dump()
    assert found.nexthops == {VIA4: via[0]}
    assert found.routes == {routes[1].prefix: routes[1]}


async def a_refused_change_stops_none_of_the_others(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await with_tunnel(kernel, world)
    first, second = route("10.9.0.1/32", VIA4), route("10.9.0.2/32", VIA4)
    missing = delete(route("10.9.0.3/32", VIA4))
    refusals = await kernel.apply([add(first), add(first), missing, add(second)])
    assert [refusal.change for refusal in refusals] == [add(first), missing]
    assert errors(refusals) == ["EEXIST", "ESRCH"]
    assert set((await kernel.dump()).routes) == {first.prefix, second.prefix}


async def a_route_needs_its_nexthop_and_its_source(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await with_tunnel(kernel, world)
    changes = [
        add(route(HOST4, VIA4 + 8)),
        add(route(HOST6, VIA6 + 8)),
        add(route(HOST4, VIA4, "10.9.0.101")),
        add(route(HOST6, VIA6, "fd09::101")),
        add(route(HOST6, VIA4)),
    ]
    assert errors(await kernel.apply(changes)) == ["EINVAL"] * len(changes)
    assert (await kernel.dump()).routes == {}


async def a_nexthop_needs_a_running_device(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    down, dark = world.add_tunnel("tun0"), world.add_tunnel("tun1")
    world.set_up("tun0", False)
    world.set_carrier("tun1", False)
    devices = (down, dark, 4242)
    changes = [add(Nexthop(VIA4 + d, AF_INET, d, None)) for d in devices]
    assert errors(await kernel.apply(changes)) == ["ENETDOWN", "ENETDOWN", "EINVAL"]
    assert (await kernel.dump()).nexthops == {}


async def what_is_not_there_cannot_be_deleted(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    device = world.add_tunnel("tun0")
    gone = [
        delete(route(HOST4, VIA4)),
        delete(route(HOST6, VIA6)),
        delete(StrayRoute(Prefix.parse(HOST4), 4321, 9)),
        delete(Nexthop(VIA4, AF_INET, device, None)),
        replace(Nexthop(VIA4, AF_INET, device, None)),
    ]
    refusals = await kernel.apply(gone)
    assert errors(refusals) == ["ESRCH", "ESRCH", "ESRCH", "ENOENT", "ENOENT"]


async def a_replaced_nexthop_moves_its_routes(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    via, _ = await with_tunnel(kernel, world)
    moved = via._replace(device=world.add_tunnel("tun1"))
    there = route(HOST4, VIA4)
    assert await kernel.apply([add(there), replace(moved)]) == ()
    found = await kernel.dump()
    assert found.nexthops[VIA4] == moved
    assert found.routes == {there.prefix: there}


async def many_changes_are_made_in_order(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    via, _ = await with_tunnel(kernel, world)
    routes = [Route(Prefix.host((0x0A090000 + n).to_bytes(4)), VIA4, None) for n in range(1, 1200)]
    again = [add(r) for r in routes[::3]]
    refusals = await kernel.apply(
        [*map(add, routes), *again, *map(delete, routes), *map(add, routes)]
    )
    assert [refusal.change for refusal in refusals] == again
    assert len((await kernel.dump()).routes) == len(routes)
    assert await kernel.apply([delete(via)]) == ()
    assert (await kernel.dump()).routes == {}


# -- what is not ours --


async def foreign_routes_are_never_taken(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await with_tunnel(kernel, world)
    for prefix, via in ((HOST4, VIA4), (HOST6, VIA6)):
        world.add_route(prefix, "tun0", METRIC, table=table)
        ours = route(prefix, via)
        refusals = await kernel.apply([add(ours), delete(ours)])
        assert errors(refusals) == ["EEXIST", "ESRCH"]
        assert [r.protocol for r in await foreign(kernel, table, prefix)] == [STATIC]
    assert (await kernel.dump()).routes == {}


async def ours_goes_in_beside_a_foreign_route_of_another_metric(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await with_tunnel(kernel, world)
    for prefix, via in ((HOST4, VIA4), (HOST6, VIA6)):
        world.add_route(prefix, "tun0", 20, table=table)
        world.add_route(prefix, "tun0", 70, table=table)
        ours = route(prefix, via)
        assert await kernel.apply([add(ours)]) == ()
        assert (await kernel.dump()).routes == {ours.prefix: ours}
        assert await kernel.apply([delete(ours)]) == ()
        left = await foreign(kernel, table, prefix)
        assert sorted(r.metric for r in left) == [20, 70]


async def foreign_nexthops_are_never_taken(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    device = world.add_tunnel("tun0")
    world.add_nexthop(VIA4, "tun0", STATIC)
    ours = Nexthop(VIA4, AF_INET, device, None)
    refusals = await kernel.apply([add(ours), replace(ours), delete(ours), add(ours)])
    assert errors(refusals) == ["EEXIST", "EEXIST", "ENOENT", "EEXIST"]
    found = await kernel.dump()
    assert found.nexthops == {}
    assert found.taken == {VIA4}


async def foreign_routes_tell_where_they_lead(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    tun, _ = await with_tunnel(kernel, world)
    world.add_route("10.9.0.0/16", "tun0", 20, table=table)
    world.add_route(HOST6, "tun0", 30, 186, table=table)
    world.add_route("10.9.4.0/24", "tun0", 20, table=ELSEWHERE)
    world.add_route("10.8.0.0/16", "tun0", 20, table=table)
    assert await kernel.apply([add(route(HOST4, VIA4))]) == ()
    near = {Prefix.parse("10.9.0.0/16"), Prefix.parse(HOST6), Prefix.parse("10.9.4.0/24")}
    assert set(await kernel.foreign_routes(lambda r: r.prefix in near)) == {
        ForeignRoute(Prefix.parse("10.9.0.0/16"), table, 20, STATIC, tun.device),
        ForeignRoute(Prefix.parse(HOST6), table, 30, 186, tun.device),
    }


async def an_empty_table_has_no_foreign_routes(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    assert await kernel.foreign_routes(lambda _: True) == ()


async def routes_through_a_device_are_those_of_the_main_table(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    device = world.add_tunnel("tun0")
    other = world.add_tunnel("tun1")
    world.add_address("tun0", "10.9.0.101/24")
    world.add_route("10.77.0.0/16", "tun0", 0)
    world.add_route("10.77.0.0/16", "tun0", 5)
    world.add_route("fd77::/48", "tun0", 5)
    world.add_route("10.78.0.0/16", "tun0", 5, table=ELSEWHERE)
    world.add_route("10.79.0.0/16", "tun0", 5, PROTOCOL)
    world.add_route("10.80.0.0/16", "tun1", 5)
    through = await kernel.routes_through(device)
    assert sorted(map(str, through)) == ["10.77.0.0/16", "10.9.0.0/24", "fd77::/48"]
    assert [str(prefix) for prefix in await kernel.routes_through(other)] == ["10.80.0.0/16"]
    assert await kernel.routes_through(4242) == ()


async def strays_are_found_and_can_be_deleted(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    world.add_tunnel("tun0")
    places = [
        (HOST4, table, 70),
        (HOST6, table, 70),
        (HOST4, ELSEWHERE, METRIC),
        (HOST6, 77, METRIC),
    ]
    strays = {StrayRoute(Prefix.parse(p), where, metric) for p, where, metric in places}
    for prefix, where, metric in places:
        world.add_route(prefix, "tun0", metric, PROTOCOL, where)
    world.add_route("10.9.0.2/32", "tun0", METRIC, PROTOCOL, table)
    strays.add(StrayRoute(Prefix.parse("10.9.0.2/32"), table, METRIC))
    found = await kernel.dump()
    assert set(found.strays) == strays
    assert len(found.strays) == len(strays)
    assert found.routes == {}
    assert await kernel.apply([delete(stray) for stray in found.strays]) == ()
    assert (await kernel.dump()).strays == ()


# -- what goes by itself --


async def a_link_that_goes_down_takes_nexthops_and_routes(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    for take in (lambda: world.set_up("tun0", False), lambda: world.remove_link("tun0")):
        await with_tunnel(kernel, world)
        assert await kernel.apply([add(route(HOST4, VIA4)), add(route(HOST6, VIA6))]) == ()
        await heard(kernel, world, "tun0")
        take()
        notices = await until(kernel, lambda n: n.links)
        assert not notices.ours
        found = await kernel.dump()
        assert (found.nexthops, found.routes) == ({}, {})
        world.remove_link("tun0")


async def a_lost_carrier_takes_nexthops_and_routes(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await with_tunnel(kernel, world)
    assert await kernel.apply([add(route(HOST4, VIA4)), add(route(HOST6, VIA6))]) == ()
    await heard(kernel, world, "tun0")
    world.set_carrier("tun0", False)
    await until(kernel, lambda n: n.links)
    found = await kernel.dump()
    assert (found.nexthops, found.routes) == ({}, {})


async def an_address_that_goes_takes_the_ipv4_routes_that_prefer_it(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await with_tunnel(kernel, world)
    for address in ("10.9.0.101/24", "fd09::101/64"):
        world.add_address("tun0", address)
    routes = [
        route("10.9.0.1/32", VIA4, "10.9.0.101"),
        route("10.9.0.2/32", VIA4),
        route(HOST6, VIA6, "fd09::101"),
    ]
    assert await kernel.apply([*map(add, routes)]) == ()
    await heard(kernel, world, "tun0")
    for address in ("10.9.0.101/24", "fd09::101/64"):
        world.remove_address("tun0", address)
    notices = await heard(kernel, world, "tun0")
    assert notices.links
    assert not notices.ours
    left = {route.prefix: route for route in (routes[1:] if table == MAIN else routes)}
    assert (await kernel.dump()).routes == left


# -- notices --


async def our_own_changes_are_not_told(kernel: KernelApi, world: KernelDriver, table: int) -> None:
    via = await with_tunnel(kernel, world)
    await heard(kernel, world, "tun0")
    eth = world.add_tunnel("tun1")
    routes = [route(HOST4, VIA4), route(HOST6, VIA6), route("10.9.0.2/32", VIA4)]
    await kernel.apply([*map(add, routes), replace(via[1]._replace(device=eth))])
    await kernel.apply([delete(routes[2]), *map(delete, via)])
    notices = await heard(kernel, world, "tun0")
    assert (notices.ours, notices.added, notices.deleted) == (False, (), ())


async def what_others_do_to_ours_is_told(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    deeds: list[Callable[[], None]] = [
        lambda: world.remove_route(HOST4, METRIC, PROTOCOL, table),
        lambda: world.remove_route(HOST6, METRIC, PROTOCOL, table),
        lambda: world.steal_route(HOST4, "tun0", METRIC, table=table),
        lambda: world.add_route("10.9.0.7/32", "tun0", METRIC, PROTOCOL, table),
        lambda: world.remove_nexthop(VIA4),
        lambda: world.steal_nexthop(VIA4, "tun0", STATIC),
        lambda: world.add_nexthop(VIA4 + 40, "tun0", PROTOCOL),
    ]
    for deed in deeds:
        await with_tunnel(kernel, world)
        assert await kernel.apply([add(route(HOST4, VIA4)), add(route(HOST6, VIA6))]) == ()
        await heard(kernel, world, "tun0")
        deed()
        await until(kernel, lambda n: n.ours)
        world.remove_link("tun0")


async def foreign_routes_that_come_and_go_are_told(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    device = world.add_tunnel("tun0")
    await heard(kernel, world, "tun0")
    world.add_route(HOST4, "tun0", 20, table=table)
    world.add_route(HOST6, "tun0", 20, table=table)
    world.add_route("10.8.0.0/16", "tun0", 20, table=ELSEWHERE)
    here4 = ForeignRoute(Prefix.parse(HOST4), table, 20, STATIC, device)
    here6 = ForeignRoute(Prefix.parse(HOST6), table, 20, STATIC, device)
    assert (await heard(kernel, world, "tun0")).added == (here4, here6)
    world.remove_route(HOST4, 20, table=table)
    world.remove_route(HOST6, 20, table=table)
    assert (await heard(kernel, world, "tun0")).deleted == (here4, here6)


async def the_last_word_on_a_route_counts(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    device = world.add_tunnel("tun0")
    await heard(kernel, world, "tun0")
    world.add_route(HOST4, "tun0", 20, table=table)
    world.remove_route(HOST4, 20, table=table)
    world.add_route(HOST4, "tun0", 20, table=table)
    notices = await kernel.events()
    assert notices.added == (ForeignRoute(Prefix.parse(HOST4), table, 20, STATIC, device),)
    assert notices.deleted == ()


async def nothing_is_lost_by_cancelling(kernel: KernelApi, world: KernelDriver, table: int) -> None:
    via, _ = await with_tunnel(kernel, world)
    routes = [Route(Prefix.host((0x0A090000 + n).to_bytes(4)), VIA4, None) for n in range(1, 1200)]
    await heard(kernel, world, "tun0")
    for patience in range(5):
        with trio.CancelScope() as scope:
            scope.cancel()
            await kernel.events()
        async with trio.open_nursery() as nursery:  # cancelled after so many of its waits
            nursery.start_soon(kernel.apply, [*map(add, routes)])
            nursery.start_soon(kernel.dump)
            nursery.start_soon(kernel.foreign_routes, lambda _: True)
            nursery.start_soon(kernel.links)
            for _ in range(patience):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        found = await kernel.dump()
        assert found.nexthops[VIA4] == via
        assert found.routes.keys() == {route.prefix for route in routes}  # begun is done
        assert await kernel.apply([*map(delete, routes)]) == ()
    world.add_route(HOST4, "tun0", 20, table=table)
    await until(kernel, lambda n: n.added)


# -- rules --


async def rules_are_told_in_the_kernel_s_order(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await kernel.set_rules(True)
    world.add_tunnel("tun0")
    await heard(kernel, world, "tun0")
    world.add_rule(100, ELSEWHERE)
    assert (await until(kernel, lambda n: n.rules)).ours is False
    found = [
        (r.priority, r.table, r.protocol == PROTOCOL, r.suppress, r.conditional)
        for r in await kernel.dump_rules()
        if r.family == AF_INET
    ]
    assert found == [
        (0, LOCAL_TABLE, False, -1, False),
        (100, ELSEWHERE, False, -1, False),
        *([] if table == MAIN else [(5657, table, True, 0, False)]),
        (32766, MAIN, False, -1, False),
        (32767, 253, False, -1, False),
    ]
    world.remove_rules(100, ELSEWHERE)
    await until(kernel, lambda n: n.rules)


async def a_table_that_a_rule_consults_has_its_foreign_routes_told(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    device = world.add_tunnel("tun0")
    world.add_route(HOST4, "tun0", 20, table=ELSEWHERE)
    assert await foreign(kernel, ELSEWHERE, "0.0.0.0/0") == []
    world.add_rule(100, ELSEWHERE)
    here = ForeignRoute(Prefix.parse(HOST4), ELSEWHERE, 20, STATIC, device)
    assert await foreign(kernel, ELSEWHERE, "0.0.0.0/0") == [here]
    world.remove_route(HOST4, 20, table=ELSEWHERE)
    assert (await heard(kernel, world, "tun0")).deleted == (here,)
    for prefix in ("10.9.0.8/29", "fd09::8/125"):
        world.add_blackhole(prefix, 20, ELSEWHERE if "." in prefix else table)
        [drops] = (await heard(kernel, world, "tun0")).added
        assert (str(drops.prefix), drops.type, drops.gateway) == (prefix, RTN_BLACKHOLE, None)
        assert [drops] == await foreign(kernel, drops.table, prefix)


async def a_lookup_finds_the_route_of_a_packet(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await kernel.set_rules(True)
    tun0, tun1 = world.add_tunnel("tun0"), world.add_tunnel("tun1")
    for address in ("10.9.0.254/24", "fd09::fe/64"):
        world.add_address("tun0", address)
    nexthops = Nexthop(VIA4, AF_INET, tun1, None), Nexthop(VIA6, AF_INET6, tun1, None)
    assert await kernel.apply([*map(add, nexthops)]) == ()
    assert await kernel.apply([add(route(HOST4, VIA4)), add(route(HOST6, VIA6))]) == ()
    for host, other, own, network in (
        (HOST4, "10.9.0.7", "10.9.0.254", "10.9.0.0/24"),
        (HOST6, "fd09::7", "fd09::fe", "fd09::/64"),
    ):
        from_client = Prefix.parse(other).address, tun0
        for more in (), from_client:
            found = (await kernel.lookup(Prefix.parse(host).address, *more)).route
            assert found is not None
            assert (found.prefix, found.table) == (Prefix.parse(host), table)
            assert (found.protocol, found.device) == (PROTOCOL, tun1)
        found = (await kernel.lookup(Prefix.parse(other).address)).route
        assert found is not None
        assert (found.prefix, found.device) == (Prefix.parse(network), tun0)
        found = (await kernel.lookup(Prefix.parse(own).address)).route
        assert found is not None
        assert found.type == RTN_LOCAL
        world.add_blackhole(host, METRIC - 1, MAIN)
        # with a table of our own that is consulted before the main one, ours counts
        answer = await kernel.lookup(Prefix.parse(host).address)
        assert (answer.errno == errno.EINVAL, answer.route is None) == (table == MAIN,) * 2
    nowhere = await kernel.lookup(Prefix.parse("203.0.113.1").address)
    assert nowhere == RouteLookup(None, errno.ENETUNREACH)
    one, ours = (Prefix.parse(text).address for text in ("10.9.0.7", "10.9.0.254"))
    assert await kernel.lookup(one, one, 4711) == RouteLookup(None, errno.ENODEV)
    assert await kernel.lookup(one, ours, tun0) == RouteLookup(None, errno.EINVAL)


async def a_rule_of_ours_that_follows_default_routes_is_replaced(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    world.add_rule(5657, table, PROTOCOL)
    await kernel.set_rules(True)
    wanted = [] if table == MAIN else [our_rule(f, table, PROTOCOL) for f in FAMILIES]
    assert [rule for rule in await kernel.dump_rules() if rule.protocol == PROTOCOL] == wanted


async def rules_lead_to_our_table_and_only_ours_go(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    world.add_rule(5657, 4321)
    for _ in range(2):
        await kernel.set_rules(True)
        ours = [] if table == MAIN else [(5657, table)] * 2
        assert world.rules() == [*ours, (5657, 4321)]
    for _ in range(2):
        await kernel.set_rules(False)
        assert world.rules() == [(5657, 4321)]


async def rules_that_somebody_deletes_are_told(
    kernel: KernelApi, world: KernelDriver, table: int
) -> None:
    await kernel.set_rules(True)
    if table != MAIN:
        world.remove_rules(5657, table)
        await until(kernel, lambda n: n.ours)
        assert await kernel.set_rules(True) == 2
        assert await kernel.set_rules(True) == 0
        assert world.rules() == [(5657, table)] * 2
    assert await kernel.set_rules(False) == 0


CHECKS: tuple[Check, ...] = (
    links_tell_their_kind_state_and_addresses,
    a_link_has_its_alternative_names,
    a_link_runs_while_it_is_up_and_has_a_carrier,
    a_change_of_links_or_addresses_is_told,
    an_address_is_there_once_or_not_at_all,
    an_address_of_somebody_else_is_not_ours,
    a_flush_takes_our_addresses,
    an_address_that_we_add_is_told,
    an_address_needs_a_device,
    what_is_added_is_found,
    what_is_deleted_is_gone,
    a_refused_change_stops_none_of_the_others,
    a_route_needs_its_nexthop_and_its_source,
    a_nexthop_needs_a_running_device,
    what_is_not_there_cannot_be_deleted,
    a_replaced_nexthop_moves_its_routes,
    many_changes_are_made_in_order,
    foreign_routes_are_never_taken,
    ours_goes_in_beside_a_foreign_route_of_another_metric,
    foreign_nexthops_are_never_taken,
    foreign_routes_tell_where_they_lead,
    an_empty_table_has_no_foreign_routes,
    routes_through_a_device_are_those_of_the_main_table,
    strays_are_found_and_can_be_deleted,
    a_link_that_goes_down_takes_nexthops_and_routes,
    a_lost_carrier_takes_nexthops_and_routes,
    an_address_that_goes_takes_the_ipv4_routes_that_prefer_it,
    our_own_changes_are_not_told,
    what_others_do_to_ours_is_told,
    foreign_routes_that_come_and_go_are_told,
    the_last_word_on_a_route_counts,
    nothing_is_lost_by_cancelling,
    rules_lead_to_our_table_and_only_ours_go,
    rules_that_somebody_deletes_are_told,
    rules_are_told_in_the_kernel_s_order,
    a_table_that_a_rule_consults_has_its_foreign_routes_told,
    a_lookup_finds_the_route_of_a_packet,
    a_rule_of_ours_that_follows_default_routes_is_replaced,
)
