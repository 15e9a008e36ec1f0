"""Claims to services on their way through a node: to the peers, the kernel and the machine."""

from __future__ import annotations

import pytest

from cuberouted.daemon.node import CHUNK_ROUTES, Node
from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.peering.events import PeerLost, RoutesReplaced
from cuberouted.service_claim import ServiceClaim, ServicePhase
from tests.unit.daemon.test_node import SERVERS, Scene, advertisement, changed

DB, WEB = Prefix.parse("10.100.0.200"), Prefix.parse("10.100.0.201")
FAR = Prefix.parse("10.100.200.1")
HOLDING, STANDBY, UNFIT = ServicePhase.HOLDING, ServicePhase.STANDBY, ServicePhase.UNFIT


def service(phase=HOLDING, priority=100, prefix=DB):
    claim = ServiceClaim(phase, priority)
    return Advertisement(prefix, Kind.SERVICE, b"db", 1, True, 0, claim)


class ServiceScene(Scene):
    """``told``: how often the node has told that a claim has changed."""

    told = 0

    async def start(self):
        await super().start()
        self.node.on_services_changed = self.tell

    def tell(self):
        self.told += 1


@pytest.fixture
async def scene():
    scene = ServiceScene()
    await scene.start()
    return scene


async def test_our_claims_are_announced_and_those_that_are_missing_withdrawn(scene):
    await scene.node.update_services([service(), service(STANDBY, prefix=WEB)])
    await scene.node.update_services([service()])
    await scene.node.update_services([service()])
    await scene.node.update_services([service(ServicePhase.RELEASING)])
    assert scene.announced == [([DB, WEB], []), ([], [WEB]), ([DB], [])]
    assert scene.routes == {}
    assert scene.told == 3
    assert scene.node.claims(DB.address) == {}  # those of the other nodes alone


async def test_packets_go_to_the_node_that_has_the_address(scene):
    await scene.node.update_services([service(STANDBY)])
    await scene.node.update_peer(changed(service(STANDBY, 200)))
    await scene.node.update_peer(changed(service(STANDBY, 300), peer="C"))
    assert scene.routes == {}
    await scene.node.update_peer(changed(service(HOLDING, 200)))
    assert scene.routes == {DB: "tun1"}
    await scene.node.update_peer(changed(service(ServicePhase.RELEASING, 200)))
    await scene.node.update_peer(changed(service(ServicePhase.CLAIMING, 300), peer="C"))
    assert scene.routes == {DB: "tun1"}
    await scene.node.update_peer(changed(service(UNFIT, 200)))
    assert scene.routes == {}
    await scene.node.update_services([service(HOLDING, 50)])
    assert scene.routes == {}
    await scene.node.update_peer(changed(service(HOLDING, 300), peer="C"))
    assert scene.routes == {DB: "tun2"}


async def test_a_client_at_the_address_gets_no_packets(scene):
    client = Advertisement(DB, Kind.CLIENT, b"host", 10**15, confirmed=True)
    await scene.node.update_peer(changed(client, peer="C"))
    assert scene.routes == {DB: "tun2"}
    await scene.node.update_peer(changed(service(STANDBY)))
    assert scene.routes == {}


async def test_the_claims_of_a_lost_peer_vanish_with_its_routes(scene):
    await scene.node.update_peer(changed(service(), advertisement(1)))
    await scene.node.update_peer(changed(service(STANDBY), peer="C"))
    told = scene.told
    assert scene.node.claims(DB.address) == {
        "vpnsrvB": ServiceClaim(HOLDING, 100),
        "vpnsrvC": ServiceClaim(STANDBY, 100),
    }
    await scene.node.update_peer(changed(advertisement(2)))
    assert scene.told == told
    await scene.node.update_peer(PeerLost("B", "goodbye received"))
    assert scene.told == told + 1
    assert scene.node.claims(DB.address) == {"vpnsrvC": ServiceClaim(STANDBY, 100)}
    assert scene.routes == {}
    await scene.node.update_peer(RoutesReplaced("C", "vpnsrvC", ()))
    assert scene.node.claims(DB.address) == {}


async def test_the_claims_of_a_lost_peer_go_before_its_clients(scene):
    clients = [advertisement(number) for number in range(1, 3 * CHUNK_ROUTES)]
    await scene.node.update_peer(RoutesReplaced("B", "vpnsrvB", (*clients, service(prefix=FAR))))
    told = []

    def tell():
        told.append((scene.node.claims(FAR.address), len(scene.node.rib.prefixes())))

    scene.node.on_services_changed = tell
    await scene.node.update_peer(PeerLost("B", "nothing received for 3 s"))
    assert told == [({}, len(clients) + len(SERVERS) + 1)]
    assert len(scene.node.rib.prefixes()) == len(SERVERS) + 1


async def test_a_restarted_daemon_keeps_the_route_until_the_peers_have_told(scene):
    await scene.node.update_peer(changed(service()))
    again = ServiceScene(kernel=scene.kernel)
    await again.start()
    node: Node = again.node
    await node.update_services([service(UNFIT)])
    await node.update_peer(changed(service(STANDBY), peer="C"))
    assert again.routes == {DB: "tun1"}
    assert node.claims(DB.address) == {"vpnsrvC": ServiceClaim(STANDBY, 100)}
    await node.update_peer(RoutesReplaced("B", "vpnsrvB", (service(STANDBY),)))
    assert again.routes == {}


async def test_a_restarted_daemon_follows_who_has_the_address_meanwhile(scene):
    await scene.node.update_peer(changed(service()))
    again = ServiceScene(kernel=scene.kernel)
    await again.start()
    await again.node.update_peer(changed(service(), peer="C"))
    assert again.routes == {DB: "tun2"}
