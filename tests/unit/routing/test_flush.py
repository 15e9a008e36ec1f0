from __future__ import annotations

import errno

import pytest

from cuberouted.model import Prefix
from cuberouted.routing.flush import flush, flush_changes, flush_commands
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.types import (
    Change,
    ChangeError,
    KernelState,
    Nexthop,
    Op,
    Route,
    StrayRoute,
)
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_driver import STATIC

TABLE, METRIC, PROTOCOL = 100, 50, 201


class RefusingKernel(FakeKernel):
    """Refuses everything for this reason."""

    reason = errno.EPERM

    async def apply(self, changes):
        return tuple(ChangeError(change, self.reason, "") for change in changes)


async def filled(kernel):
    """Two routes of ours, a stray one, a nexthop and rules; and a route of somebody else's."""
    tun1 = kernel.add_tunnel("tun1")
    nexthop = Nexthop(1000, 2, tun1, None)
    one, other = (Route(Prefix.parse(f"10.9.0.{number}"), 1000, None) for number in (1, 2))
    changes = [Change(Op.ADD, nexthop), Change(Op.ADD, one), Change(Op.ADD, other)]
    await FakeKernel.apply(kernel, changes)
    kernel.add_route("10.9.0.3/32", "tun1", 7, protocol=PROTOCOL)
    kernel.add_route("10.9.0.4/32", "tun1", METRIC, protocol=STATIC, table=TABLE)
    await kernel.set_rules(present=True)
    return kernel


async def test_all_that_is_ours_is_removed_and_nothing_else():
    kernel = await filled(FakeKernel(TABLE, METRIC, PROTOCOL))
    assert await flush(kernel) == (3, 0)
    assert kernel.installed == KernelState({}, {}, ())
    assert kernel.rules() == []
    assert len(await kernel.foreign_routes(lambda _: True)) == 1
    assert await flush(kernel) == (0, 0)


async def test_addresses_of_services_are_removed_and_no_others():
    kernel = FakeKernel(TABLE, METRIC, PROTOCOL)
    tun0 = kernel.add_tunnel("tun0")
    kernel.add_address("tun0", "10.9.0.101/24")
    before = await kernel.links()
    lo = next(link.index for link in before if link.name == "lo")
    for device, address in ((lo, "10.9.0.200"), (lo, "fd09::200"), (tun0, "10.9.0.201")):
        await kernel.set_address(device, Prefix.parse(address).address, present=True)
    assert await flush(kernel) == (0, 3)
    assert await kernel.links() == before


async def test_iproute2_can_remove_all_that_is_ours():
    kernel = await filled(FakeKernel(TABLE, METRIC, PROTOCOL))
    lo = next(link.index for link in await kernel.links() if link.name == "lo")
    await kernel.set_address(lo, Prefix.parse("fd09::200").address, present=True)
    assert await flush_commands(kernel, PROTOCOL) == [
        "ip nexthop flush proto 201",
        "ip -4 route flush table all proto 201",
        "ip -4 rule flush protocol 201",
        "ip -6 rule flush protocol 201",
        "ip address del fd09::200 dev lo",
    ]
    await flush(kernel)
    assert await flush_commands(kernel, PROTOCOL) == []


def test_networks_go_before_the_routes_inside_them():
    nexthops = {id_: Nexthop(id_, 2, device, None) for id_, device in ((1000, 1), (1002, 2))}
    prefixes = [Prefix.parse(p) for p in ("10.9.0.1", "10.9.0.0/28", "10.9.0.0/24")]
    routes = {p: Route(p, 1000 if p.length == 24 else 1002, None) for p in prefixes}
    changes = [change.what for change in flush_changes(KernelState(nexthops, routes))]
    assert changes == [routes[prefixes[2]], routes[prefixes[1]], *nexthops.values()]


async def test_what_cannot_be_removed_is_told():
    kernel = await filled(RefusingKernel(TABLE, METRIC, PROTOCOL))
    with pytest.raises(
        KernelError, match="nexthop 1000 and 1 more cannot be removed: Operation not"
    ):
        await flush(kernel)
    assert kernel.rules() == []


async def test_what_went_by_itself_is_no_mistake():
    kernel = await filled(RefusingKernel(TABLE, METRIC, PROTOCOL))
    kernel.reason = errno.ENOENT
    assert await flush(kernel) == (3, 0)


def test_a_nexthop_takes_its_routes_along():
    nexthop = Nexthop(1000, 2, 5, None)
    its_own, orphan = (
        Route(Prefix.parse(f"10.9.0.{n}"), id_, None) for n, id_ in ((1, 1000), (2, 12))
    )
    stray = StrayRoute(Prefix.parse("10.9.0.3"), 7, 3)
    found = KernelState({1000: nexthop}, {its_own.prefix: its_own, orphan.prefix: orphan}, (stray,))
    assert flush_changes(found) == [Change(Op.DELETE, what) for what in (nexthop, orphan, stray)]
