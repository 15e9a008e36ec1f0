"""Foreign routes that carry packets elsewhere are reported, with whom they cut off and the cure."""

from __future__ import annotations

import attrs
import pytest
import trio

from cuberouted.daemon.foreign_routes import MAX_PUBLISHED
from cuberouted.model import MAIN_TABLE, Advertisement, Kind, LocalRoute, Prefix, SessionId
from cuberouted.openvpn.sessions import SessionUpdate
from cuberouted.peering.events import RoutesChanged
from cuberouted.routing.rib import Rib
from cuberouted.routing.types import ForeignRoute
from cuberouted.service_claim import ServiceClaim, ServicePhase
from tests.unit.daemon.test_kernel_monitor import HOST1, HOST2, Scene
from tests.unit.longest_step import longest_step

HERE = Prefix.parse("10.100.100.10")
NETWORK = Prefix.parse("10.100.100.64/27")
DATA_B = Prefix.parse("10.100.100.102")
SERVICE = Prefix.parse("10.100.100.200")
SIX = Prefix.parse("fd00:100::12")
MANY = 3000


class WithClients(Scene):
    """A client of this host besides those of B, and a network behind one of B's."""

    @property
    def sentences(self):
        return list(self.monitor.foreign_routes.conflicts.values())

    async def start(self, nursery):
        await super().start(nursery)
        self.kernel.add_address("tun0", "fd00:100::101/64")
        await self.settled()
        await self.here(HERE)
        there = (
            Advertisement(NETWORK, Kind.NETWORK, b"hq", 1_000, True),
            Advertisement(SIX, Kind.CLIENT, b"six", 1_000, True),
        )
        await self.node.update_peer(RoutesChanged("B", "B", there, ()))
        await self.settled()
        assert self.sentences == []

    async def here(self, *prefixes):
        routes = tuple(
            LocalRoute(p, Kind.CLIENT, b"host1", SessionId(1, 1), True, True) for p in prefixes
        )
        await self.node.update_local(SessionUpdate("", routes, (), complete=True))


@pytest.fixture(params=[254, 100])
async def scene(request, nursery):
    scene = WithClients(request.param)
    await scene.start(nursery)
    return scene


@pytest.fixture
async def main_scene(nursery):
    scene = WithClients()
    await scene.start(nursery)
    return scene


async def test_a_host_route_that_cuts_a_local_client_off(scene, autojump_clock):
    scene.kernel.add_route(str(HERE), "tun1", metric=0)
    await scene.settled()
    assert scene.sentences == [
        (
            "10.100.100.10/32 dev tun1 in table main (protocol static): packets to host1,"
            " 10.100.100.10, which is connected here, leave by tun1; remove it where it was"
            " configured, or by `ip route del 10.100.100.10/32 dev tun1 table main`"
        )
    ]
    assert scene.events.warnings() == [f"foreign route {scene.sentences[0]}"]
    assert scene.cut_off == {HERE}
    scene.events.clear()
    scene.kernel.remove_route(str(HERE), metric=0)
    await scene.settled()
    assert (scene.sentences, scene.cut_off) == ([], frozenset())
    assert scene.events.sentences == [
        (
            "foreign route 10.100.100.10/32 dev tun1 in table main (protocol static):"
            " no longer in the way"
        )
    ]


async def test_what_leads_where_it_should_is_no_conflict(main_scene, autojump_clock):
    scene = main_scene
    scene.kernel.add_route(str(HERE), "tun0", metric=0)
    scene.kernel.add_route(str(HOST1), "tun1", metric=0)
    scene.kernel.add_route(str(HOST2), "tun2", metric=60)
    scene.kernel.add_route("0.0.0.0/0", "tun2", metric=0)
    scene.kernel.add_route("10.0.0.0/8", "tun2", metric=0)
    scene.kernel.add_route("10.100.100.96/28", "tun2", metric=0)
    await scene.settled()
    assert scene.sentences == []


async def test_a_lower_metric_wins_over_ours(main_scene, autojump_clock):
    main_scene.kernel.add_route(str(HOST1), "tun2", metric=20)
    main_scene.kernel.add_route(str(SIX), "tun2", metric=20)
    await main_scene.settled()
    assert [text.partition("; ")[::2] for text in main_scene.sentences] == [
        (
            (
                "10.100.100.11/32 dev tun2 in table main (protocol static, metric 20):"
                " packets to x, 10.100.100.11, which is connected at B, leave by tun2"
            ),
            (
                "remove it where it was configured, or by"
                " `ip route del 10.100.100.11/32 dev tun2 table main metric 20`"
            ),
        ),
        (
            (
                "fd00:100::12/128 dev tun2 in table main (protocol static, metric 20):"
                " packets to six, fd00:100::12, which is connected at B, leave by tun2"
            ),
            (
                "remove it where it was configured, or by"
                " `ip route del fd00:100::12/128 dev tun2 table main metric 20`"
            ),
        ),
    ]


async def test_many_clients_inside_one_route_are_one_sentence(main_scene, autojump_clock):
    scene = main_scene
    await scene.here(*(Prefix.parse(f"10.100.100.{n}") for n in range(16, 24)))
    scene.kernel.add_blackhole("10.100.100.16/29", metric=0)
    await scene.settled()
    assert scene.sentences == [
        (
            "blackhole 10.100.100.16/29 in table main (protocol static): packets to host1,"
            " 10.100.100.16, which is connected here, and to 7 more clients are dropped; remove it"
            " where it was configured, or by `ip route del blackhole 10.100.100.16/29 table main`"
        )
    ]
    assert len(scene.cut_off) == 8


async def test_a_route_inside_a_network_cuts_a_part_of_it_off(main_scene, autojump_clock):
    main_scene.kernel.add_route("10.100.100.72/29", "tun2", metric=0, protocol=12)
    await main_scene.settled()
    assert main_scene.sentences == [
        (
            "10.100.100.72/29 dev tun2 in table main (protocol bird): packets to 10.100.100.64/27,"
            " a network behind hq, which is connected at B, leave by tun2; remove it where it was"
            " configured"
        )
    ]


def service(phase, prefix=SERVICE):
    claim = ServiceClaim(phase, 100)
    return Advertisement(prefix, Kind.SERVICE, b"db", 1, True, 0, claim)


async def test_a_route_that_carries_a_service_s_packets_elsewhere(main_scene, autojump_clock):
    scene = main_scene
    holding = service(ServicePhase.HOLDING)
    await scene.node.update_peer(RoutesChanged("B", "B", (holding,), ()))
    scene.kernel.add_route(str(SERVICE), "tun2", metric=20)
    await scene.settled()
    assert [text.partition(";")[0] for text in scene.sentences] == [
        (
            "10.100.100.200/32 dev tun2 in table main (protocol static, metric 20):"
            " packets to 10.100.100.200, the address of service db at B, leave by tun2"
        )
    ]
    released = service(ServicePhase.STANDBY)  # then there is nowhere that they should go
    await scene.node.update_peer(RoutesChanged("B", "B", (released,), ()))
    await scene.settled()
    assert scene.sentences == []


async def test_a_service_that_this_node_has_is_on_it_whatever_the_routes(
    main_scene, autojump_clock
):
    await main_scene.node.update_services([service(ServicePhase.HOLDING)])
    main_scene.kernel.add_route(str(SERVICE), "tun2", metric=20)
    await main_scene.settled()
    assert main_scene.sentences == []


async def test_a_service_outside_allowed_networks_has_its_routes_looked_at(
    main_scene, autojump_clock
):
    scene = main_scene
    outside = Prefix.parse("10.55.0.1")
    policy = attrs.evolve(scene.node.host.policy, services={outside.address: "db"})
    foreign = [
        ForeignRoute(Prefix.parse(p), MAIN_TABLE, 0, 4, 3)
        for p in ("10.55.0.1", "10.55.0.0/24", "10.55.0.2", "10.56.0.0/24")
    ]
    assert [*map(scene.monitor.foreign_routes.matters, foreign)] == [False] * 4
    scene.node.host = attrs.evolve(scene.node.host, policy=policy)
    assert [*map(scene.monitor.foreign_routes.matters, foreign)] == [True, True, False, False]


async def test_openvpn_s_own_route_for_a_network_asks_for_route_table(scene, autojump_clock):
    scene.kernel.add_route(str(NETWORK), "tun0", metric=0, protocol=3)
    await scene.settled()
    if scene.kernel.table == 100:
        assert scene.sentences == []
        return
    [text] = scene.sentences
    assert text.endswith(
        "leave by tun0; set route_table, whose routes the kernel consults before the main table"
    )


async def test_a_table_that_is_consulted_before_ours_wins(scene, autojump_clock):
    scene.kernel.add_route("10.100.100.0/24", "tun2", metric=0, table=50)
    await scene.settled()
    assert scene.sentences == []
    scene.kernel.add_rule(100, 50)
    await scene.settled()
    assert [text.partition(":")[0] for text in scene.sentences] == [
        "10.100.100.0/24 dev tun2 in table 50 (protocol static)"
    ]
    assert scene.cut_off - {DATA_B} == {HERE, HOST1, HOST2, NETWORK}
    scene.kernel.remove_rules(100, 50)
    scene.kernel.add_rule(20000 if scene.kernel.table == 100 else 32766, 50)
    await scene.settled()
    assert scene.cut_off == ({HERE} if scene.kernel.table == 100 else frozenset())


async def test_it_follows_the_rib_and_the_links(main_scene, autojump_clock):
    scene = main_scene
    scene.kernel.add_route(str(HOST1), "tun2", metric=20)
    await scene.settled()
    assert scene.cut_off == {HOST1}
    await scene.node.update_peer(RoutesChanged("B", "B", (), (HOST1,)))
    await scene.settled()
    assert scene.cut_off == frozenset()
    await scene.node.update_peer(
        RoutesChanged("C", "C", (Advertisement(HOST1, Kind.CLIENT, b"x", 2_000, True),), ())
    )
    await scene.settled()
    assert scene.cut_off == frozenset()
    await scene.node.update_peer(
        RoutesChanged("B", "B", (Advertisement(HOST1, Kind.CLIENT, b"x", 3_000, True),), ())
    )
    await scene.settled()
    assert scene.cut_off == {HOST1}
    scene.kernel.set_up("tun2", False)  # takes the route along, without a notification
    await trio.sleep(2)
    assert scene.cut_off == frozenset()


async def test_a_route_that_waits_for_the_kernel_is_no_conflict(
    main_scene, nursery, autojump_clock, monkeypatch
):
    scene, apply = main_scene, main_scene.kernel.apply
    scene.kernel.add_route("10.100.100.8/29", "tun2", metric=0)
    await scene.settled()
    before = scene.cut_off

    async def slow_apply(changes):
        await trio.sleep(2)
        return await apply(changes)

    monkeypatch.setattr(scene.kernel, "apply", slow_apply)
    for number in (13, 14):
        prefix = Prefix.parse(f"10.100.100.{number}")
        client = Advertisement(prefix, Kind.CLIENT, b"new", 3_000, True)
        change = RoutesChanged("B", "B", (client,), ())
        nursery.start_soon(scene.node.update_peer, change)
        await trio.sleep(0.5)
        scene.monitor.foreign_routes.request_search()
        await scene.settled()
        assert scene.cut_off == before
    monkeypatch.undo()
    await trio.sleep(5)
    assert scene.cut_off == before


async def test_a_rib_that_changes_while_it_is_read_is_read_again(
    main_scene, nursery, autojump_clock, monkeypatch
):
    scene, late = main_scene, Prefix.parse("10.100.100.15")
    prefixes = Rib.prefixes

    def prefixes_before_the_change(rib):
        monkeypatch.undo()
        nursery.start_soon(scene.here, HERE, late)
        return prefixes(rib)

    monkeypatch.setattr(Rib, "prefixes", prefixes_before_the_change)
    scene.kernel.add_route("10.100.100.8/29", "tun2", metric=0)
    await scene.settled()
    await trio.sleep(1)
    assert scene.cut_off == {HERE, late}


async def test_the_alternative_name_of_a_data_interface_is_one_of_its_names(
    main_scene, autojump_clock
):
    scene = main_scene
    scene.kernel.add_altname("tun0", "vpn")
    vpn = attrs.evolve(scene.monitor.config.openvpns[0], data_interface="vpn")
    scene.monitor.config = attrs.evolve(scene.monitor.config, openvpns=(vpn,))
    scene.monitor.request_scan()
    scene.kernel.add_route("10.100.100.64/26", "tun0", metric=0)
    scene.kernel.add_route("10.100.100.80/28", "tun0", metric=0)
    await scene.settled()
    assert scene.sentences == []


async def test_a_client_of_this_host_without_any_route_is_told_so(main_scene, autojump_clock):
    scene, lost = main_scene, Prefix.parse("10.77.0.5")
    wide = (Prefix.parse("10.0.0.0/8"),)
    scene.monitor.config = attrs.evolve(scene.monitor.config, allowed_networks=wide)
    scene.monitor.request_scan()
    await scene.settled()
    scene.kernel.add_route("10.0.0.0/8", "tun2", metric=0)
    await scene.here(HERE, lost)
    await scene.settled()
    [text] = scene.sentences
    assert "no route leads to 10.77.0.5/32 here: add a `route`" in text
    assert scene.cut_off == {lost}
    scene.kernel.add_route("10.77.0.0/24", "tun0", metric=0)
    await scene.settled()
    assert scene.sentences == []


async def test_log_lines_are_limited(main_scene, autojump_clock):
    main_scene.events.clear()
    for number in range(20):
        main_scene.kernel.add_route(f"10.100.100.{64 + number}/32", "tun2", metric=0)
    await main_scene.settled()
    assert len(main_scene.sentences) == 20
    assert len(main_scene.events.sentences) == MAX_PUBLISHED + 1
    assert main_scene.events.sentences[-1].startswith("foreign routes: 15 more are in the way")
    main_scene.events.clear()
    for _ in range(20):
        main_scene.kernel.remove_route("10.100.100.64/32", metric=0)
        await main_scene.settled()
        main_scene.kernel.add_route("10.100.100.64/32", "tun2", metric=0)
        await main_scene.settled()
    assert len(main_scene.events.sentences) <= 3


async def test_many_routes_that_flap_are_a_few_lines_a_minute(main_scene, autojump_clock):
    main_scene.events.clear()
    for _ in range(10):
        for number in range(20):
            main_scene.kernel.add_route(f"10.100.100.{64 + number}/32", "tun2", metric=0)
        await main_scene.settled()
        for number in range(20):
            main_scene.kernel.remove_route(f"10.100.100.{64 + number}/32", metric=0)
        await main_scene.settled()
    assert len(main_scene.events.sentences) == MAX_PUBLISHED + 1


async def test_a_route_in_the_way_that_goes_during_a_dump_is_replaced_by_ours_at_once(
    main_scene, autojump_clock, monkeypatch
):
    scene, dump_rules = main_scene, main_scene.kernel.dump_rules
    scene.kernel.steal_route(str(HOST1), "tun2", 50)
    await scene.settled()
    assert scene.cut_off == {HOST1}

    async def slow_dump_rules():
        await trio.sleep(30)
        return await dump_rules()

    monkeypatch.setattr(scene.kernel, "dump_rules", slow_dump_rules)
    scene.kernel.add_rule(100, 50)
    await scene.settled()
    scene.kernel.remove_route(str(HOST1), 50)
    await scene.settled()
    assert scene.routes[HOST1] == "tun1"
    await trio.sleep(70)
    assert scene.cut_off == set()


async def test_where_a_new_route_is_among_equals_is_found_by_a_dump(main_scene, autojump_clock):
    scene = main_scene
    scene.kernel.add_route(str(HERE), "tun0", metric=0)
    await scene.settled()
    device = scene.kernel.devices["tun2"].index
    appended = ForeignRoute(HERE, MAIN_TABLE, 0, 4, device)  # no packet follows it
    await scene.monitor.foreign_routes.change((appended,), ())
    await scene.settled()
    assert (scene.sentences, scene.events.warnings()) == ([], [])


@pytest.mark.parametrize("length", [24, 32])
async def test_thousands_of_conflicts_are_no_long_step(main_scene, autojump_clock, length):
    scene, network = main_scene, Prefix.parse("10.0.0.0/10")
    scene.monitor.config = attrs.evolve(scene.monitor.config, allowed_networks=(network,))
    scene.monitor.request_scan()
    await scene.settled()
    route = LocalRoute(network, Kind.NETWORK, b"hq", SessionId(1, 1), True, True)
    await scene.node.update_local(SessionUpdate("", (route,), (), complete=True))
    first = int.from_bytes(Prefix.parse("10.0.0.0").address)
    for number in range(MANY):
        address = first + (number << 32 - length)
        scene.kernel.add_route(str(Prefix(address.to_bytes(4), length)), "tun2", metric=0)
    scene.kernel.add_route(str(network), "tun0", metric=0)
    with longest_step() as longest:
        await scene.settled()
    assert len(scene.monitor.foreign_routes.conflicts) == MANY
    assert longest.seconds < 0.02


async def test_routes_of_others_in_our_own_table_are_told(scene, autojump_clock):
    assert scene.monitor.foreign_routes.intruders is None
    for prefix in ("0.0.0.0/0", "203.0.113.0/24"):
        scene.kernel.add_route(prefix, "tun2", metric=0, table=scene.kernel.table)
    await scene.settled()
    text = (
        "table 100 (route_table) has routes that are not cuberouted's: 0.0.0.0/0 dev tun2,"
        " 203.0.113.0/24 dev tun2: the kernel consults it before the main table"
    )
    told = scene.monitor.foreign_routes.intruders or ""
    assert told.partition(" (default")[0] == (text if scene.kernel.table == 100 else "")
    assert scene.sentences == []
