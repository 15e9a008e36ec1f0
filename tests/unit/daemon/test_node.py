"""News into the RIB, the kernel and the peers' ears; the kernel is a fake one."""

from __future__ import annotations

import socket

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
from tests.unit.config.samples import LINKS, THREE_SERVERS, config, link

V4 = socket.AF_INET
CONFIG = config("allowed_networks = 10.100.0.0/16", THREE_SERVERS)
SERVERS = configured_servers(CONFIG)
SERVER_A, SERVER_B = Prefix.parse("10.100.100.101"), Prefix.parse("10.100.100.102")


def host(number):
    return Prefix(bytes((10, 100, number // 256, number % 256)), 32)


def said(number, version=1_000, kind=Kind.CLIENT, name=b"host"):
    return Advertisement(host(number), kind, name, version, confirmed=True)


def held(number, since=1, announced=True, kind=Kind.CLIENT):
    session = SessionId(number, since)
    return LocalRoute(host(number), kind, b"host", session, announced, confirmed=True)


def local(*claims, withdrawn=(), instance="", complete=True):
    return SessionUpdate(instance, claims, tuple(withdrawn), complete)


def learned(*advertise, withdraw=(), peer="B"):
    return RoutesChanged(peer, f"vpnsrv{peer}", advertise, tuple(withdraw))


class Scene:
    """A node, its kernel, and what it has told to whom, in order."""

    def __init__(self, instances=("",)):
        self.kernel = FakeKernel(MAIN, 50, 201)
        for name in ("tun0", "tun1", "tun2"):
            self.kernel.add_tunnel(name)
        self.kernel.add_address("tun0", "10.100.100.101/24")
        self.told = []
        self.routes_when_told = []
        self.superseded: list[tuple[str, frozenset[SupersededSession]]] = []
        self.node = Node(
            "A",
            instances,
            self.kernel,
            50,
            self.say,
            lambda instance, lost: self.superseded.append((instance, lost)),
            self.stale,
        )

    def say(self, advertise, withdraw):
        self.told.append(([a.prefix for a in advertise], list(withdraw)))
        self.routes_when_told.append(self.routes)

    def stale(self):
        raise AssertionError("the kernel is not as believed")

    async def begin(self):
        links = await self.kernel.links()
        surroundings = evaluate_links(CONFIG, links, {}, HostState())
        adopted = await self.node.kernel_sync.adopt(surroundings.nexthops, surroundings.sources)
        await self.node.begin(surroundings, SERVERS, adopted)
        self.told.clear()
        self.routes_when_told.clear()

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
    await scene.begin()
    return scene


# -- from news to the kernel and to the peers --


async def test_what_a_peer_says_is_routed_and_not_passed_on(scene):
    await scene.node.update_peer(learned(said(1), said(2)))
    assert scene.routes == {host(1): "tun1", host(2): "tun1"}
    await scene.node.update_peer(learned(said(2, version=2_000), peer="C"))
    assert scene.routes == {host(1): "tun1", host(2): "tun2"}
    await scene.node.update_peer(learned(withdraw=[host(1), host(9)]))
    await scene.node.update_peer(PeerLost("C", "it said goodbye"))
    assert scene.routes == {host(2): "tun1"}
    assert scene.told == []


async def test_a_snapshot_replaces_all_that_a_peer_has_said(scene):
    await scene.node.update_peer(learned(said(1), said(2)))
    await scene.node.update_peer(learned(said(5), peer="C"))
    await scene.node.update_peer(RoutesReplaced("B", "vpnsrvB", (said(2), said(3))))
    assert scene.routes == {host(2): "tun1", host(3): "tun1", host(5): "tun2"}


async def test_the_kernel_follows_before_the_peers_are_told_of_a_client_here(scene):
    await scene.node.update_peer(learned(said(1)))
    await scene.node.update_local(local(held(1)))
    assert scene.told == [([host(1)], [])]
    assert scene.routes_when_told == [{}]
    await scene.node.update_local(local(withdrawn=[host(1)]))
    assert scene.told[1:] == [([], [host(1)])]
    assert scene.routes == {host(1): "tun1"}


async def test_news_of_many_clients_are_taken_in_slices_that_let_others_work(scene):
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
            RoutesReplaced("B", "vpnsrvB", tuple(said(number) for number in range(count)))
        )
        assert len(scene.routes) == count
        assert turns > 3
        turns = 0
        await scene.node.update_local(local(*(held(number) for number in range(count))))
        assert (scene.routes, len(scene.told)) == ({}, 4)
        assert turns > 3
        turns = 0
        await scene.node.update_peer(PeerLost("B", "gone"))
        await scene.node.update_local(local(withdrawn=[host(number) for number in range(count)]))
        assert (scene.routes, len(scene.told)) == ({}, 8)
        assert turns > 3
        nursery.cancel_scope.cancel()


# -- what is refused --


async def test_what_is_refused_is_told_once_a_minute_for_each_peer(scene, caplog, autojump_clock):
    outside = Advertisement(Prefix.parse("10.9.0.1"), Kind.CLIENT, b"x", 1, confirmed=True)
    for peer in ("B", "C"):
        for _ in range(5):
            await scene.node.update_peer(learned(outside, peer=peer))
    assert [record.message for record in caplog.records] == [
        "peer B: 10.9.0.1/32 refused: outside allowed_networks",
        "peer C: 10.9.0.1/32 refused: outside allowed_networks",
    ]
    await trio.sleep(60)
    await scene.node.update_peer(learned(outside))
    assert caplog.records[-1].message.endswith(" (4 more refused since the last such line)")
    assert scene.routes == {}


async def test_what_was_refused_is_believed_when_the_networks_allow_it(scene):
    elsewhere = Prefix.parse("10.9.0.1")
    await scene.node.update_peer(
        learned(Advertisement(elsewhere, Kind.CLIENT, b"x", 1, confirmed=True))
    )
    assert scene.routes == {}
    wider = config("allowed_networks = 10.0.0.0/8", THREE_SERVERS)
    links = await scene.kernel.links()
    for now, expected in ((wider, {elsewhere: "tun1"}), (CONFIG, {})):
        surroundings = evaluate_links(now, links, {}, scene.node.host)
        await scene.node.interfaces_changed(surroundings, SERVERS)
        assert scene.routes == expected


# -- servers --


async def test_our_own_data_address_is_told_and_taken_back_with_its_interface():
    scene = Scene()
    links = LINKS
    await scene.node.begin(evaluate_links(CONFIG, links, {}, HostState()), {}, {})
    assert scene.told == [([SERVER_A], [])]
    assert scene.node.target(SERVER_A) is None
    away = evaluate_links(CONFIG, (link("tun0"),), {}, scene.node.host)
    await scene.node.interfaces_changed(away, {})
    assert scene.told[1:] == [([], [SERVER_A])]


async def test_a_configured_data_address_is_its_peer_s_alone_and_goes_with_the_configuration(scene):
    node = scene.node
    assert node.target(SERVER_B) == Target("B", V4, to_server=True)
    claim = Advertisement(SERVER_B, Kind.SERVER, b"C", 2_000, confirmed=True)
    await node.update_peer(learned(claim, peer="C"))
    assert node.target(SERVER_B) == Target("B", V4, to_server=True)
    await node.interfaces_changed(node.host, {SERVER_B: "C"})
    assert node.target(SERVER_B) == Target("C", V4, to_server=True)
    await node.update_peer(PeerLost("C", "gone"))
    assert node.target(SERVER_B) == Target("C", V4, to_server=True)
    await node.interfaces_changed(node.host, {})
    assert node.target(SERVER_B) is None


# -- several OpenVPNs --


async def test_only_where_there_are_several_openvpns_a_client_here_is_routed():
    scene = Scene(("udp", "tcp"))
    await scene.begin()
    node = scene.node
    await node.update_local(local(held(1), instance="udp"))
    await node.update_local(local(held(2), instance="tcp"))
    assert node.target(host(1)) == Target("openvpn udp", V4, to_server=False)
    assert node.target(host(2)) == Target("openvpn tcp", V4, to_server=False)
    assert node.target(SERVER_A) is None
    await node.forget_instance("tcp")
    await node.set_instances(["udp"])
    assert node.target(host(1)) is node.target(host(2)) is None
    assert scene.told[-1] == ([], [host(2)])
    assert SELF not in node.instances


# -- superseded sessions --


async def test_a_session_whose_client_is_elsewhere_now_is_told_to_its_watcher_once(scene):
    await scene.node.update_local(local(held(1, announced=False)))
    newer = said(1, version=5_000_000)
    for _ in range(3):
        await scene.node.update_peer(learned(newer))
    ((instance, (superseded,)),) = scene.superseded
    assert (instance, superseded.prefix, superseded.node) == ("", host(1), "vpnsrvB")
    assert superseded.session == held(1).session
    assert scene.routes == {host(1): "tun1"}
    await scene.node.update_local(local(withdrawn=[host(1)]))
    assert scene.superseded[1:] == [("", frozenset())]
