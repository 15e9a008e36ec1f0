"""Updates into the RIB, the kernel and to the peers, on the fake kernel."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import trio

from cuberouted.daemon.host import HostState, configured_servers, evaluate_links
from cuberouted.daemon.node import CHUNK_ROUTES, SELF, Node
from cuberouted.model import Advertisement, Kind, LocalRoute, Prefix, SessionId, SupersededSession
from cuberouted.openvpn.sessions import SessionUpdate
from cuberouted.peering.events import PeerLost, RoutesChanged, RoutesReplaced
from cuberouted.routing.nexthops import Target
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_driver import MAIN
from tests.fakes.published import PublishedEvents
from tests.fakes.samples import LINKS, THREE_SERVERS, config, link

V4 = socket.AF_INET
CONFIG = config("allowed_networks = 10.100.0.0/16", THREE_SERVERS)
SERVERS = configured_servers(CONFIG)
SERVER_A, SERVER_B = Prefix.parse("10.100.100.101"), Prefix.parse("10.100.100.102")


def host(number):
    return Prefix(bytes((10, 100, number // 256, number % 256)), 32)


def advertisement(number, version=1_000, kind=Kind.CLIENT, name=b"host"):
    return Advertisement(host(number), kind, name, version, confirmed=True)


def session(number, since=1, announced=True, kind=Kind.CLIENT):
    id_ = SessionId(number, since)
    return LocalRoute(host(number), kind, b"host", id_, announced, confirmed=True)


def local(*routes, withdrawn=(), instance="", complete=True):
    return SessionUpdate(instance, routes, tuple(withdrawn), complete)


def changed(*advertise, withdraw=(), peer="B"):
    return RoutesChanged(peer, f"vpnsrv{peer}", advertise, tuple(withdraw))


class Scene:
    """A node, its kernel, and what it has announced, in order."""

    kernel_type: type[FakeKernel] = FakeKernel

    def __init__(self, instances=("",), kernel=None):
        self.kernel = kernel or self.new_kernel()
        self.announced = []
        self.events = PublishedEvents()
        self.routes_when_announced = []
        self.superseded: list[tuple[str, frozenset[SupersededSession]]] = []
        self.node = Node(
            "A",
            instances,
            self.kernel,
            50,
            self.announce,
            lambda instance, lost: self.superseded.append((instance, lost)),
            self.out_of_sync,
            self.events.append,
            lambda: 0.0,
        )

    def new_kernel(self):
        kernel = self.kernel_type(MAIN, 50, 201)
        for name in ("tun0", "tun1", "tun2"):
            kernel.add_tunnel(name)
        kernel.add_address("tun0", "10.100.100.101/24")
        return kernel

    def announce(self, advertise, withdraw):
        self.announced.append(([a.prefix for a in advertise], list(withdraw)))
        self.routes_when_announced.append(self.routes)

    def out_of_sync(self):
        raise AssertionError("the kernel is not as mirrored")

    async def start(self):
        links = await self.kernel.links()
        state = evaluate_links(CONFIG, links, {}, HostState())
        adopted = await self.node.kernel_sync.adopt(state.nexthops, state.sources)
        await self.node.start(state, SERVERS, adopted)
        self.announced.clear()
        self.routes_when_announced.clear()

    @property
    def routes(self):
        """Where the routes lead; the peers' data addresses left out."""
        found = self.kernel.installed
        names = {device.index: name for name, device in self.kernel.devices.items()}
        led = {p: names[found.nexthops[r.nexthop].device] for p, r in found.routes.items()}
        return {p: to for p, to in led.items() if p not in SERVERS}


@pytest.fixture
async def scene():
    scene = Scene()
    await scene.start()
    return scene


# -- from updates to the kernel and to the peers --


async def test_a_peers_routes_are_installed_and_not_announced_again(scene):
    await scene.node.update_peer(changed(advertisement(1), advertisement(2)))
    assert scene.routes == {host(1): "tun1", host(2): "tun1"}
    await scene.node.update_peer(changed(advertisement(2, version=2_000), peer="C"))
    assert scene.routes == {host(1): "tun1", host(2): "tun2"}
    await scene.node.update_peer(changed(withdraw=[host(1), host(9)]))
    await scene.node.update_peer(PeerLost("C", "goodbye received"))
    assert scene.routes == {host(2): "tun1"}
    assert scene.announced == []


async def test_a_snapshot_replaces_all_routes_of_a_peer(scene):
    await scene.node.update_peer(changed(advertisement(1), advertisement(2)))
    await scene.node.update_peer(changed(advertisement(5), peer="C"))
    await scene.node.update_peer(
        RoutesReplaced("B", "vpnsrvB", (advertisement(2), advertisement(3)))
    )
    assert scene.routes == {host(2): "tun1", host(3): "tun1", host(5): "tun2"}


async def test_the_kernel_is_changed_before_a_local_client_is_announced(scene):
    await scene.node.update_peer(changed(advertisement(1)))
    await scene.node.update_local(local(session(1)))
    assert scene.announced == [([host(1)], [])]
    assert scene.routes_when_announced == [{}]
    await scene.node.update_local(local(withdrawn=[host(1)]))
    assert scene.announced[1:] == [([], [host(1)])]
    assert scene.routes == {host(1): "tun1"}


async def test_other_tasks_run_while_many_routes_are_applied(scene):
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    count = 3 * CHUNK_ROUTES + 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await scene.node.update_peer(
            RoutesReplaced("B", "vpnsrvB", tuple(advertisement(number) for number in range(count)))
        )
        assert len(scene.routes) == count
        assert turns > 3
        turns = 0
        await scene.node.update_local(local(*(session(number) for number in range(count))))
        assert (scene.routes, len(scene.announced)) == ({}, 4)
        assert turns > 3
        turns = 0
        await scene.node.update_peer(PeerLost("B", "gone"))
        await scene.node.update_local(local(withdrawn=[host(number) for number in range(count)]))
        assert (scene.routes, len(scene.announced)) == ({}, 8)
        assert turns > 3
        nursery.cancel_scope.cancel()


# -- refused prefixes --


async def test_refused_prefixes_are_logged_once_a_minute_for_each_peer(scene, autojump_clock):
    outside = Advertisement(Prefix.parse("10.9.0.1"), Kind.CLIENT, b"x", 1, confirmed=True)
    for peer in ("B", "C"):
        for _ in range(5):
            await scene.node.update_peer(changed(outside, peer=peer))
    assert scene.events.warnings() == [
        "peer vpnsrvB (B): 10.9.0.1 refused: outside allowed_networks",
        "peer vpnsrvC (C): 10.9.0.1 refused: outside allowed_networks",
    ]
    await trio.sleep(60)
    await scene.node.update_peer(changed(outside))
    assert scene.events.warnings()[-1].endswith(" (4 similar messages suppressed)")
    assert scene.routes == {}


async def test_a_new_policy_applies_to_routes_that_stand(scene):
    elsewhere = Prefix.parse("10.9.0.1")
    await scene.node.update_peer(
        changed(Advertisement(elsewhere, Kind.CLIENT, b"x", 1, confirmed=True))
    )
    assert scene.routes == {}
    wider = config("allowed_networks = 10.0.0.0/8", THREE_SERVERS)
    links = await scene.kernel.links()
    for configured, expected in ((wider, {elsewhere: "tun1"}), (CONFIG, {})):
        state = evaluate_links(configured, links, {}, scene.node.host)
        await scene.node.interfaces_changed(state, SERVERS)
        assert scene.routes == expected


# -- servers --


async def test_our_own_data_address_is_announced_while_its_interface_is_up():
    scene = Scene()
    links = LINKS
    await scene.node.start(evaluate_links(CONFIG, links, {}, HostState()), {}, {})
    assert scene.announced == [([SERVER_A], [])]
    assert scene.node.target(SERVER_A) is None
    away = evaluate_links(CONFIG, (link("tun0"),), {}, scene.node.host)
    await scene.node.interfaces_changed(away, {})
    assert scene.announced[1:] == [([], [SERVER_A])]


async def test_a_configured_data_address_leads_to_its_peer_alone(scene):
    node = scene.node
    assert node.target(SERVER_B) == Target("B", V4, to_server=True)
    other = Advertisement(SERVER_B, Kind.SERVER, b"C", 2_000, confirmed=True)
    await node.update_peer(changed(other, peer="C"))
    assert node.target(SERVER_B) == Target("B", V4, to_server=True)
    await node.interfaces_changed(node.host, {SERVER_B: "C"})
    assert node.target(SERVER_B) == Target("C", V4, to_server=True)
    await node.update_peer(PeerLost("C", "gone"))
    assert node.target(SERVER_B) == Target("C", V4, to_server=True)
    await node.interfaces_changed(node.host, {})
    assert node.target(SERVER_B) is None


# -- several OpenVPNs --


async def test_local_clients_get_routes_only_with_several_openvpn_processes():
    scene = Scene(("udp", "tcp"))
    await scene.start()
    node = scene.node
    await node.update_local(local(session(1), instance="udp"))
    await node.update_local(local(session(2), instance="tcp"))
    assert node.target(host(1)) == Target("openvpn udp", V4, to_server=False)
    assert node.target(host(2)) == Target("openvpn tcp", V4, to_server=False)
    assert node.target(SERVER_A) is None
    await node.set_instances(["udp"])
    assert node.target(host(1)) is node.target(host(2)) is None
    assert scene.announced[-1] == ([], [host(2)])
    assert SELF not in node.instances


# -- networks inside each other --

WIDE, NARROW = Prefix.parse("10.100.50.0/24"), Prefix.parse("10.100.50.8/29")
INSIDE = Prefix.parse("10.100.50.9")


def claim(prefix, version=1_000, kind=Kind.NETWORK):
    return Advertisement(prefix, kind, b"hq", version, confirmed=True)


def own(prefix, kind=Kind.NETWORK, announced=False):
    return LocalRoute(prefix, kind, b"branch", SessionId(1, 1), announced, confirmed=True)


class OrderedKernel(FakeKernel):
    """``check`` is called after each change."""

    check: Callable[[], None] = staticmethod(lambda: None)

    def _make(self, change):
        refused = super()._make(change)
        self.check()
        return refused


class OrderedScene(Scene):
    """Fails as soon as there is a route to another node for *wide*, and none *inside* it."""

    kernel_type = OrderedKernel

    def __init__(self, wide=WIDE, inside=(INSIDE, NARROW)):
        super().__init__()
        self.wide, self.inside = wide, inside
        self.kernel.check = self.check

    def check(self):
        routes = self.routes
        if routes.get(self.wide, "tun0") != "tun0":
            assert [routes.get(prefix) for prefix in self.inside] == ["tun0"] * len(self.inside)


async def test_local_prefixes_are_routed_before_a_network_around_them_and_until_after_it():
    scene = OrderedScene()
    await scene.start()
    node, inside = scene.node, {INSIDE: "tun0", NARROW: "tun0"}
    await node.update_local(local(own(INSIDE, Kind.CLIENT), own(NARROW), session(1)))
    assert scene.routes == {}
    for _ in range(2):
        await node.update_peer(changed(claim(WIDE)))
        assert scene.routes == {WIDE: "tun1", **inside}
        await node.update_peer(changed(claim(WIDE, 2_000), peer="C"))
        assert scene.routes == {WIDE: "tun2", **inside}
        await node.update_peer(changed(withdraw=[WIDE], peer="C"))
        assert scene.routes == {WIDE: "tun1", **inside}
        await node.update_peer(changed(withdraw=[WIDE]))
        assert scene.routes == {}
    await node.update_peer(changed(claim(WIDE), advertisement(2)))
    await node.update_local(local(own(WIDE, announced=True)))
    assert scene.routes == {host(2): "tun1"}  # the widest is here as well
    await node.update_local(local(withdrawn=[WIDE]))
    assert scene.routes == {host(2): "tun1", WIDE: "tun1", **inside}
    await node.update_peer(PeerLost("B", "gone"))
    assert scene.routes == {}


async def test_many_local_clients_are_routed_before_the_network_around_them():
    count = 2 * CHUNK_ROUTES + 100
    around = Prefix.parse("10.100.0.0/18")
    scene = OrderedScene(around, [host(number) for number in range(0, count, 300)])
    await scene.start()
    await scene.node.update_local(local(*(session(number) for number in range(count))))
    assert scene.routes == {}
    await scene.node.update_peer(changed(claim(around)))
    assert scene.routes == {around: "tun1", **{host(number): "tun0" for number in range(count)}}
    await scene.node.update_peer(changed(withdraw=[around]))
    assert scene.routes == {}
    found = scene.kernel.installed
    assert found.nexthops.keys() == {route.nexthop for route in found.routes.values()}


async def test_routes_to_our_own_device_are_adopted_and_stay_while_they_are_needed():
    scene = Scene()
    await scene.start()
    await scene.node.update_local(local(own(NARROW), own(INSIDE, Kind.CLIENT)))
    await scene.node.update_peer(changed(claim(WIDE)))
    everything = {WIDE: "tun1", NARROW: "tun0", INSIDE: "tun0"}
    assert scene.routes == everything
    later = Scene(kernel=scene.kernel)
    await later.start()
    assert later.routes == everything
    best = later.node.rib.best(NARROW)
    assert (best and best.node) == "A"
    await later.node.update_local(local(own(NARROW)))  # the other one has gone meanwhile
    assert later.routes == {WIDE: "tun1", NARROW: "tun0"}
    await later.node.update_peer(RoutesReplaced("B", "vpnsrvB", ()))
    assert later.routes == {}


# -- superseded sessions --


async def test_a_superseded_session_is_notified_once(scene):
    await scene.node.update_local(local(session(1, announced=False)))
    newer = advertisement(1, version=5_000_000)
    for _ in range(3):
        await scene.node.update_peer(changed(newer))
    ((instance, (superseded,)),) = scene.superseded
    assert (instance, superseded.prefix, superseded.node) == ("", host(1), "vpnsrvB")
    assert superseded.session == session(1).session
    assert scene.routes == {host(1): "tun1"}
    await scene.node.update_local(local(withdrawn=[host(1)]))
    assert scene.superseded[1:] == [("", frozenset())]


async def test_a_move_within_this_host_names_the_other_openvpn():
    scene = Scene(("udp", "tcp"))
    await scene.start()
    await scene.node.update_local(local(session(1, announced=False), instance="udp"))
    await scene.node.update_local(local(session(1), instance="tcp"))
    ((instance, (superseded,)),) = scene.superseded
    assert (instance, superseded.node) == ("udp", "openvpn tcp")


# -- listings --


async def test_all_are_listed_once_every_openvpn_has_been_listed_completely():
    scene = Scene(("udp", "tcp"))
    await scene.start()
    node = scene.node
    await node.update_local(local(session(1), instance="udp"))
    await node.update_local(local(session(2), instance="tcp", complete=False))
    assert not node.all_listed.is_set()
    await node.set_instances(["udp"])  # the other one is no longer configured
    assert node.all_listed.is_set()


# -- prefixes of our own clients that the policy refuses --


async def test_refused_prefixes_of_own_clients_are_logged_at_their_begin_and_end(scene):
    outside = Prefix.parse("192.168.77.0/24")
    id_ = SessionId(1, 1)
    route = LocalRoute(outside, Kind.NETWORK, b"host", id_, announced=False, confirmed=True)
    for _ in range(3):
        await scene.node.update_local(local(route))
    await scene.node.update_local(local(withdrawn=[outside]))
    await scene.node.update_local(local(session(1)))
    assert scene.events.sentences == [
        "openvpn: 192.168.77.0/24 refused: outside allowed_networks",
        "openvpn: no longer: refused prefixes",
    ]
