"""What the kernel's notices lead to; the kernel is a fake one."""

from __future__ import annotations

import pytest
import trio

from cuberouted.daemon.host import HostState
from cuberouted.daemon.kernel_monitor import MAX_SCAN_INTERVAL, SCAN_INTERVAL, KernelMonitor
from cuberouted.daemon.node import Node
from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.peering.events import RoutesChanged
from cuberouted.routing.kernel_api import KernelError
from cuberouted.util.tasks import Signal
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_driver import MAIN
from tests.fakes.published import PublishedEvents
from tests.fakes.samples import THREE_SERVERS, config

DATA_B = "data_ip = 10.100.100.102\n"
CONFIG = config(THREE_SERVERS.replace(DATA_B, ""))
HOST1, HOST2 = map(Prefix.parse, ("10.100.100.11", "10.100.100.12"))
OURS, THEIRS, METRIC = 201, 4, 50
SOON = 0.2


class OddKernel(FakeKernel):
    """Counts how often it is dumped: ``dumps``."""

    dumps = 0
    deaf = False
    """Cannot tell anything."""

    async def events(self):
        if self.deaf:
            await trio.lowlevel.checkpoint()
            raise KernelError("cannot hear")
        return await super().events()

    async def dump(self):
        self.dumps += 1
        return await super().dump()


def new_node(kernel, on_out_of_sync, events):
    return Node(
        "A",
        [""],
        kernel,
        METRIC,
        lambda *_: None,
        lambda *_: None,
        on_out_of_sync,
        events.append,
        lambda: 0.0,
    )


class Scene:
    """A kernel monitor on a node whose peer B has two clients."""

    def __init__(self, table=MAIN):
        self.kernel = OddKernel(table, METRIC, OURS)
        for name in ("tun0", "tun1", "tun2"):
            self.kernel.add_tunnel(name)
        self.kernel.add_address("tun0", "10.100.100.101/24")
        self.kernel.add_address("tun1", "10.200.200.1 peer 10.200.200.5/32")
        self.seen: list[HostState] = []
        self.scan_requested = Signal()
        self.events = PublishedEvents()
        self.node = new_node(self.kernel, self.scan_requested.set, self.events)
        settings = CONFIG if table == MAIN else config(f"route_table = {table}", THREE_SERVERS)
        self.monitor = KernelMonitor(
            settings,
            self.kernel,
            self.node,
            self.scan_requested,
            lambda: self.seen.append(self.node.host),
            self.events.append,
        )

    async def start(self, nursery):
        await self.monitor.start()
        nursery.start_soon(self.monitor.run)
        clients = (Advertisement(p, Kind.CLIENT, b"x", 1_000, True) for p in (HOST1, HOST2))
        await self.node.update_peer(RoutesChanged("B", "B", tuple(clients), ()))
        await self.settled()

    async def settled(self):
        await trio.sleep(SOON)
        await trio.testing.wait_all_tasks_blocked()

    @property
    def cut_off(self):
        return self.monitor.foreign_routes.cut_off

    @property
    def routes(self):
        found = self.kernel.installed
        names = {device.index: name for name, device in self.kernel.devices.items()}
        return {p: names[found.nexthops[r.nexthop].device] for p, r in found.routes.items()}


@pytest.fixture
async def scene(nursery):
    scene = Scene()
    await scene.start(nursery)
    assert scene.routes == {HOST1: "tun1", HOST2: "tun1"}
    return scene


# -- links --


async def test_routes_are_back_as_soon_as_their_device_is(scene, autojump_clock):
    scene.kernel.set_up("tun1", False)
    await scene.settled()
    assert (scene.routes, scene.seen[-1].missing) == ({}, ("tun1",))
    scene.kernel.set_up("tun1", True)
    await scene.settled()
    assert (scene.routes, scene.seen[-1].missing) == ({HOST1: "tun1", HOST2: "tun1"}, ())


async def test_a_device_made_anew_under_the_same_name_is_used(scene, autojump_clock):
    scene.kernel.remove_link("tun1")
    scene.kernel.add_tunnel("tun1")
    await scene.settled()
    assert scene.routes == {HOST1: "tun1", HOST2: "tun1"}


async def test_interfaces_that_are_missing_are_told_once(scene, autojump_clock):
    scene.kernel.set_carrier("tun1", False)
    await scene.settled()
    await trio.sleep(10 * SCAN_INTERVAL)
    scene.kernel.set_carrier("tun1", True)
    await scene.settled()
    assert scene.events.sentences[1:] == [  # after those of the start
        "interfaces: waiting for tun1",
        "interfaces: all are up",
    ]


async def test_routes_prefer_the_data_address_while_it_is_there(scene, autojump_clock):
    def sources():
        return {route.source for route in scene.kernel.installed.routes.values()}

    first = Prefix.parse("10.100.100.101").address
    assert sources() == {first}
    scene.kernel.remove_address("tun0", "10.100.100.101/24")  # the routes go with it
    await scene.settled()
    assert (len(scene.routes), sources()) == (2, {None})
    scene.kernel.add_address("tun0", "10.100.100.7/24")
    await scene.settled()
    assert (len(scene.routes), sources()) == (2, {Prefix.parse("10.100.100.7").address})


async def test_a_network_that_is_routed_to_the_data_interface_is_believed(scene, autojump_clock):
    far = Prefix.parse("10.7.0.1")
    said = Advertisement(far, Kind.CLIENT, b"x", 1_000, True)
    await scene.node.update_peer(RoutesChanged("B", "B", (said,), ()))
    assert far not in scene.routes
    scene.kernel.add_route("10.7.0.0/16", "tun0", metric=0)
    await scene.settled()
    assert scene.routes[far] == "tun1"
    scene.kernel.remove_route("10.7.0.0/16", metric=0)
    await scene.settled()
    assert far not in scene.routes


async def test_a_configuration_error_that_only_the_links_show_is_logged_once(scene, autojump_clock):
    scene.monitor.config = config(THREE_SERVERS.replace("tun2", "tun1"))
    scene.monitor.request_scan()
    await trio.sleep(10 * SCAN_INTERVAL)
    (sentence,) = scene.events.warnings()
    assert sentence.startswith(
        "configuration: peer C: the point-to-point interface tun1 already leads to peer B"
    )
    assert scene.routes.items() >= {HOST1: "tun1", HOST2: "tun1"}.items()


# -- routes --


async def test_changes_of_our_routes_by_others_are_repaired(scene, autojump_clock):
    (nexthop,) = scene.kernel.installed.nexthops
    scene.kernel.remove_route(str(HOST1), METRIC, protocol=OURS)
    await scene.settled()
    assert scene.routes == {HOST1: "tun1", HOST2: "tun1"}
    scene.kernel.remove_nexthop(nexthop)
    await scene.settled()
    assert scene.routes == {HOST1: "tun1", HOST2: "tun1"}
    scene.kernel.steal_nexthop(nexthop, "tun2", THEIRS)
    await scene.settled()
    assert scene.routes == {HOST1: "tun1", HOST2: "tun1"}


async def test_a_foreign_route_with_our_metric_is_left_alone_until_it_is_deleted(
    scene, autojump_clock
):
    scene.kernel.steal_route(str(HOST1), "tun2", METRIC)
    await scene.settled()
    assert scene.routes == {HOST2: "tun1"}
    assert scene.cut_off == {HOST1}
    scene.kernel.remove_route(str(HOST1), METRIC)
    await scene.settled()
    assert scene.routes == {HOST1: "tun1", HOST2: "tun1"}
    assert scene.cut_off == set()


async def test_a_route_that_shadows_ours_is_a_conflict_only_in_our_networks(scene, autojump_clock):
    scene.kernel.add_route(str(HOST1), "tun2", metric=1)
    scene.kernel.add_route("172.16.0.1/32", "tun2", metric=1)
    await scene.settled()
    assert scene.cut_off == {HOST1}
    scene.kernel.remove_route(str(HOST1), metric=1)
    await scene.settled()
    assert scene.cut_off == set()


async def test_routes_of_another_table_do_not_shadow_ours(nursery, autojump_clock):
    scene = Scene(table=100)
    await scene.start(nursery)
    scene.kernel.add_route(str(HOST1), "tun2", metric=1)
    await scene.settled()
    assert scene.cut_off == set()
    scene.kernel.add_route(str(HOST1), "tun2", metric=1, table=100)
    await scene.settled()
    assert scene.cut_off == {HOST1}


async def test_what_was_missed_is_found_when_notices_were_lost(scene, autojump_clock):
    scene.kernel.add_route(str(HOST1), "tun2", metric=1)
    scene.kernel.remove_route(str(HOST2), METRIC, protocol=OURS)
    scene.kernel.lose_notices()
    await scene.settled()
    assert HOST2 in scene.routes
    assert scene.cut_off == {HOST1}


async def test_what_nobody_tells_of_is_right_again_after_a_minute(scene, autojump_clock):
    scene.kernel.remove_route(str(HOST1), METRIC, protocol=OURS)
    scene.kernel.tell_all()
    await scene.settled()
    assert HOST1 not in scene.routes
    await trio.sleep(SCAN_INTERVAL)
    assert HOST1 in scene.routes


async def test_rules_that_somebody_removes_come_back(nursery, autojump_clock):
    scene = Scene(table=100)
    await scene.start(nursery)
    scene.kernel.rule_list.clear()
    await trio.sleep(SCAN_INTERVAL + SOON)
    assert scene.kernel.rules() == [(5657, 100)] * 2


# -- how often --


async def test_a_storm_of_notices_brings_one_look_a_second(scene, autojump_clock):
    await trio.sleep(SCAN_INTERVAL / 2)
    before = scene.kernel.dumps
    for number in range(1000):
        scene.kernel.set_carrier("tun2", bool(number % 2))
        await trio.sleep(0.01)
    assert scene.kernel.dumps - before <= 10 / MAX_SCAN_INTERVAL + 6
    await trio.sleep(2 * MAX_SCAN_INTERVAL)
    calm = scene.kernel.dumps
    await trio.sleep(SCAN_INTERVAL / 2)
    assert scene.kernel.dumps == calm


async def test_at_rest_a_look_is_taken_once_a_minute(scene, autojump_clock):
    before = scene.kernel.dumps
    await trio.sleep(10 * (SCAN_INTERVAL + SOON))
    assert scene.kernel.dumps - before == 10


async def test_a_kernel_that_fails_is_asked_again_and_told_of_once_a_minute(scene, autojump_clock):
    scene.kernel.broken = KernelError("no buffer space")
    scene.kernel.set_up("tun1", False)
    scene.kernel.set_up("tun1", True)
    await trio.sleep(55)
    assert scene.events.warnings() == ["kernel: no buffer space; trying again"]
    scene.kernel.broken = None
    await trio.sleep(MAX_SCAN_INTERVAL)
    assert scene.routes == {HOST1: "tun1", HOST2: "tun1"}


async def test_notices_that_cannot_be_heard_are_made_up_for_by_looks(nursery, autojump_clock):
    scene = Scene()
    scene.kernel.deaf = True
    await scene.start(nursery)
    scene.kernel.remove_route(str(HOST1), METRIC, protocol=OURS)
    await trio.sleep(2 * MAX_SCAN_INTERVAL)
    assert HOST1 in scene.routes
    await trio.sleep(SCAN_INTERVAL / 2)
    error, restored = scene.events.warnings()
    assert error == "kernel: cannot hear; scanning again"
    assert "installed again" in restored


# -- the start --


async def test_the_first_look_adopts_and_changes_nothing(scene, nursery, autojump_clock):
    before = scene.kernel.installed
    later = new_node(scene.kernel, lambda: None, scene.events)
    await KernelMonitor(
        CONFIG, scene.kernel, later, Signal(), lambda: None, scene.events.append
    ).start()
    assert scene.kernel.installed == before
    assert {prefix for prefix, _ in later.rib.best_routes()} >= {HOST1, HOST2}


async def test_what_leads_to_nobody_we_know_goes_with_the_first_scan(
    scene, nursery, autojump_clock
):
    learned = RoutesChanged("C", "C", (Advertisement(HOST2, Kind.CLIENT, b"x", 2_000, True),), ())
    await scene.node.update_peer(learned)
    assert scene.routes == {HOST1: "tun1", HOST2: "tun2"}
    without_c = config(THREE_SERVERS.partition("[peer C]")[0].replace(DATA_B, ""))
    later = new_node(scene.kernel, lambda: None, scene.events)
    await KernelMonitor(
        without_c, scene.kernel, later, Signal(), lambda: None, scene.events.append
    ).start()
    assert scene.routes == {HOST1: "tun1"}


async def test_without_a_first_look_there_is_no_start():
    scene = Scene()
    scene.kernel.broken = KernelError("too old")
    with pytest.raises(KernelError, match="too old"):
        await scene.monitor.start()


async def test_what_others_have_deleted_is_logged_but_not_what_a_link_took_along(
    nursery, autojump_clock
):
    scene = Scene(table=100)
    await scene.start(nursery)
    scene.kernel.set_up("tun1", False)
    await scene.settled()
    scene.kernel.set_up("tun1", True)
    await scene.settled()
    assert HOST1 in scene.routes
    assert scene.events.warnings() == []
    scene.kernel.remove_route(str(HOST1), METRIC, protocol=OURS, table=100)
    scene.kernel.remove_rules(5657, 100)
    await scene.settled()
    assert HOST1 in scene.routes
    assert scene.events.warnings() == [
        (
            f"kernel: another program had deleted 1 route ({HOST1.short}) and 2 rules of ours;"
            " installed again"
        )
    ]


async def test_what_a_link_took_along_before_a_scan_failed_is_not_logged_as_deleted(
    nursery, autojump_clock
):
    scene = Scene(table=100)
    await scene.start(nursery)
    scene.kernel.broken = KernelError("no buffer space")
    scene.kernel.set_up("tun1", False)
    scene.kernel.set_up("tun1", True)
    await scene.settled()
    scene.kernel.broken = None
    await trio.sleep(2 * MAX_SCAN_INTERVAL)
    assert HOST1 in scene.routes
    assert scene.events.warnings() == ["kernel: no buffer space; trying again"]
