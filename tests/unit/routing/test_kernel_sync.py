"""KernelSync on the fake kernel."""

from __future__ import annotations

import errno
import re
import socket

import pytest
import trio

from cuberouted.events import RouteTrace
from cuberouted.model import Prefix
from cuberouted.routing.fib import Trace
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.kernel_sync import CHUNK_PREFIXES, KernelSync
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.nexthops import Target
from cuberouted.routing.types import ChangeError, KernelState, Route
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_driver import MAIN
from tests.fakes.published import PublishedEvents

V4 = socket.AF_INET
METRIC, PROTOCOL = 50, 201
TO_B, TO_C = Target("B", V4, to_server=False), Target("C", V4, to_server=False)
TO_SERVER_B = Target("B", V4, to_server=True)


def host(number):
    return Prefix(bytes((10, 100, number // 256, number % 256)), 32)


class OddKernel(FakeKernel):
    """``seconds``: duration of every `apply`. ``refusing``: refuses all routes."""

    seconds = 0.0
    refusing = False

    async def apply(self, changes):
        with trio.CancelScope(shield=True):
            await trio.sleep(self.seconds)
        failing = [c for c in changes if self.refusing and isinstance(c.what, Route)]
        more = await super().apply([c for c in changes if c not in failing])
        return (*more, *(ChangeError(change, errno.EPERM, "") for change in failing))


class Scene:
    """A KernelSync and its kernel."""

    def __init__(self):
        self.kernel = OddKernel(MAIN, METRIC, PROTOCOL)
        devices = {name: self.kernel.add_tunnel(f"to-{name}") for name in "BC"}
        self.names = {index: name for name, index in devices.items()}
        self.resolved = {
            (name, V4): ResolvedNexthop(V4, index, None) for name, index in devices.items()
        }
        self.rescans_needed = 0
        self.events = PublishedEvents()
        self.kernel_sync = self.new_sync()

    def new_sync(self):
        return KernelSync(self.kernel, METRIC, self.on_out_of_sync, self.events.append)

    def on_out_of_sync(self):
        self.rescans_needed += 1

    async def lead(self, targets):
        self.kernel_sync.request(targets)
        await self.kernel_sync.sync()

    async def forget(self, *prefixes):
        await self.lead(dict.fromkeys(prefixes))

    async def rescan(self):
        await self.kernel_sync.rescan(self.resolved, ())

    @property
    def routes(self):
        found = self.kernel.installed
        return {p: self.names[found.nexthops[r.nexthop].device] for p, r in found.routes.items()}


@pytest.fixture
async def scene():
    scene = Scene()
    await scene.rescan()
    return scene


async def test_routes_are_installed_when_sync_returns(scene):
    await scene.lead({host(1): TO_B, host(2): TO_C})
    assert scene.routes == {host(1): "B", host(2): "C"}
    await scene.lead({host(1): TO_C})
    assert scene.routes == {host(1): "C", host(2): "C"}
    await scene.forget(host(1), host(2))
    assert scene.kernel.installed == KernelState({}, {}, ())
    assert scene.rescans_needed == 0


async def test_routes_are_installed_in_the_order_of_the_requests(scene):
    order = [host(number) for number in (7, 200, 1, 30)]
    await scene.lead(dict.fromkeys(order, TO_B))
    assert [*scene.routes] == order


async def test_a_route_is_installed_when_sync_returns_though_another_task_applied_it(
    scene, autojump_clock
):
    scene.kernel.seconds = 1.0
    done = []

    async def lead(number):
        await scene.lead({host(number): TO_B})
        done.append(number)
        assert host(number) in scene.routes

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(lead, number)
    assert sorted(done) == list(range(10))
    assert trio.current_time() <= 4.0  # waiting requests are applied together


async def test_a_change_in_progress_is_not_cancelled(scene, autojump_clock):
    scene.kernel.seconds = 1.0
    with trio.move_on_after(0.5):
        await scene.lead({host(1): TO_B})
    assert scene.routes == {host(1): "B"}


async def test_a_request_cancelled_while_waiting_is_applied_by_the_next_call(scene, autojump_clock):
    scene.kernel.seconds = 1.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.lead, {host(1): TO_B})
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.5) as waiting:
            await scene.lead({host(2): TO_B})
        assert waiting.cancelled_caught
    assert scene.routes == {host(1): "B"}
    await scene.lead({host(3): TO_C})
    assert scene.routes == {host(1): "B", host(2): "B", host(3): "C"}


async def test_a_local_client_without_a_route_causes_no_checkpoint(scene):
    with trio.testing.assert_no_checkpoints():
        scene.kernel_sync.request({host(1): None})
        await scene.kernel_sync.sync()


async def test_other_tasks_run_during_a_large_change(scene):
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await scene.lead(dict.fromkeys(map(host, range(3 * CHUNK_PREFIXES)), TO_B))
        nursery.cancel_scope.cancel()
    assert len(scene.routes) == 3 * CHUNK_PREFIXES
    assert turns >= 3


async def test_withdraw_first_removes_a_neighbours_clients_at_once_and_keeps_them_away(scene):
    await scene.lead({host(1): TO_B, host(2): TO_B, host(3): TO_C, host(4): TO_SERVER_B})
    async with scene.kernel_sync.withdraw_first("B"):
        assert scene.routes == {host(3): "C", host(4): "B"}
        await scene.rescan()
        await scene.lead({host(2): TO_C, host(5): TO_B})
        await scene.forget(host(1))
        assert scene.routes == {host(2): "C", host(3): "C", host(4): "B"}
    await scene.forget(host(5))
    await scene.lead({host(1): TO_B})
    assert scene.routes == {host(1): "B", host(2): "C", host(3): "C", host(4): "B"}


async def test_a_rescan_repairs_what_others_have_changed(scene):
    await scene.lead({host(1): TO_B, host(2): TO_C})
    scene.kernel.set_up("to-B", False)  # it takes its nexthop and routes along
    scene.kernel.set_up("to-B", True)
    assert scene.routes == {host(2): "C"}
    await scene.rescan()
    assert scene.routes == {host(1): "B", host(2): "C"}


async def test_routes_of_an_earlier_run_are_adopted_and_left_as_they_are(scene):
    await scene.lead({host(1): TO_B, host(2): TO_C})
    before = scene.kernel.installed
    later = scene.new_sync()
    assert await later.adopt(scene.resolved, ()) == {TO_B: [host(1)], TO_C: [host(2)]}
    later.request({host(1): TO_B, host(2): TO_C})
    await later.sync()
    assert scene.kernel.installed == before


async def test_a_stray_route_is_removed_by_the_first_scan(scene):
    scene.kernel.add_route("10.9.0.1/32", "to-B", metric=99, protocol=PROTOCOL)
    assert scene.kernel.installed.strays
    await scene.rescan()
    assert scene.kernel.installed == KernelState({}, {}, ())


async def test_a_foreign_route_is_traced_once_and_ours_installed_when_it_is_gone(scene):
    scene.kernel.add_route(str(host(1)), "to-C", metric=METRIC)
    await scene.lead({host(1): TO_B})
    await scene.lead({host(2): TO_B})
    assert scene.routes == {host(2): "B"}
    why = "a foreign route has our metric 50"
    assert list(scene.kernel_sync.fib.traces) == [
        Trace(host(1), RouteTrace.REFUSED, None, why),
        Trace(host(2), RouteTrace.ADDED, TO_B),
    ]
    scene.kernel_sync.fib.traces.clear()
    await scene.kernel.events()
    scene.kernel.remove_route(str(host(1)), metric=METRIC)
    events = await scene.kernel.events()
    await scene.kernel_sync.retry(route.prefix for route in events.deleted)
    assert scene.routes == {host(1): "B", host(2): "B"}
    assert list(scene.kernel_sync.fib.traces) == [
        Trace(host(1), RouteTrace.ADDED, TO_B),
        Trace(host(1), None),
    ]


async def test_a_foreign_nexthop_with_our_id_makes_us_use_the_next_id(scene):
    await scene.lead({host(1): TO_B})
    (ours,) = scene.kernel.installed.nexthops
    await scene.forget(host(1))
    for id_ in range(ours, ours + 10):
        scene.kernel.add_nexthop(id_, "to-C", protocol=17)
    await scene.lead({host(1): TO_B})
    assert scene.routes == {host(1): "B"}


async def test_no_route_ever_leads_to_the_nexthop_object_of_another_process(scene):
    await scene.lead({host(1): TO_B})
    (ours,) = scene.kernel.installed.nexthops
    await scene.forget(host(1))
    scene.kernel.add_nexthop(ours, "to-C", protocol=11)
    made: list[int] = []
    apply = scene.kernel.apply

    async def record(changes):
        errors = await apply(changes)
        made.extend(route.nexthop for route in scene.kernel.installed.routes.values())
        return errors

    scene.kernel.apply = record
    await scene.lead({host(1): TO_B})
    assert scene.routes == {host(1): "B"}
    assert made
    assert ours not in made


async def test_any_number_of_nexthop_ids_may_be_taken(scene):
    await scene.lead({host(1): TO_B})
    (ours,) = scene.kernel.installed.nexthops
    await scene.forget(host(1))
    for id_ in range(ours, ours + 100):
        scene.kernel.add_nexthop(id_, "to-C", protocol=11)
    await scene.lead({host(1): TO_B})
    assert scene.rescans_needed == 1
    await scene.rescan()
    assert scene.routes == {host(1): "B"}
    assert scene.rescans_needed == 1
    assert scene.events == []


async def test_refused_changes_are_logged_in_one_line_a_minute(scene, autojump_clock):
    scene.kernel.refusing = True
    await scene.lead(dict.fromkeys(map(host, range(20)), TO_B))
    (sentence,) = scene.events.warnings()
    line = r"kernel: cannot add route \S+ and 19 more: Operation not permitted; trying again"
    assert re.fullmatch(line, sentence)
    assert scene.rescans_needed == 1
    assert scene.kernel_sync.errors == {errno.EPERM: 20}
    await scene.rescan()
    assert (len(scene.events), scene.rescans_needed) == (1, 2)
    await trio.sleep(60)
    scene.kernel.refusing = False
    await scene.rescan()
    assert len(scene.routes) == 20
    assert scene.rescans_needed == 2


async def test_after_a_kernel_error_everything_is_scanned_again(scene):
    scene.kernel.broken = KernelError("out of memory", errno.ENOMEM)
    for number in range(10):
        await scene.lead({host(number): TO_B})
    assert scene.rescans_needed == 10
    assert scene.events.warnings() == ["kernel: out of memory; scanning again"]
    assert scene.kernel_sync.errors == {errno.ENOMEM: 10}
    with pytest.raises(KernelError):
        await scene.rescan()
    scene.kernel.broken = None
    await scene.rescan()
    assert len(scene.routes) == 10


async def test_routes_wait_for_a_device_that_is_down(scene):
    scene.kernel.set_carrier("to-B", False)
    await scene.lead({host(1): TO_B})
    assert scene.rescans_needed == 1
    assert scene.routes == {}
    scene.kernel.set_carrier("to-B", True)
    await scene.rescan()
    assert scene.routes == {host(1): "B"}


async def test_it_is_busy_until_the_requested_routes_are_installed(scene, autojump_clock):
    scene.kernel.seconds = 1.0
    assert not scene.kernel_sync.busy
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.lead, {host(1): TO_B})
        await trio.testing.wait_all_tasks_blocked()
        assert scene.kernel_sync.busy
    assert not scene.kernel_sync.busy
