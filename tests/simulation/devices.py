"""The clients: what they do, and what their OpenVPN servers make of it."""

from __future__ import annotations

import trio

from cuberouted.model import Prefix
from cuberouted.routing.rib import Origin, Source
from tests.fakes.openvpn_listing import Client
from tests.simulation.plan import DevicePlan
from tests.simulation.world import Node, World

GOODBYE = 5.0
"""Seconds that OpenVPN lists a client that has said goodbye."""


REFUTED = 60.0
"""Seconds after which everybody knows that a client was refused, also after faults."""


class Device:
    """A client. ``node`` and ``session``: where it believes itself connected."""

    def __init__(self, world: World, plan: DevicePlan) -> None:
        self.world = world
        self.plan = plan
        self.node: Node | None = None
        self.session: Client | None = None
        self.since = 0.0
        self.informed = False
        self.kept_away = True

    @property
    def is_live(self) -> bool:
        """Whether it is connected, and its server knows it."""
        return self.node is not None and self.session is not None and lists(self.node, self.session)

    @property
    def prefixes(self) -> list[Prefix]:
        """What it holds while it is connected."""
        plan = self.plan
        return [Prefix.parse(t) for t in (plan.address, plan.address6, *plan.networks) if t]

    def connect(self, node: Node) -> None:
        """Connect; what it has left elsewhere is not told."""
        plan, openvpn = self.plan, node.openvpn
        self.informed = is_informed(node, plan.name)
        make_room(node, plan)
        cid = openvpn.connect(
            plan.name,
            plan.address.encode(),
            address6=plan.address6.encode(),
            networks=tuple(text.encode() for text in plan.networks),
        )
        self.node, self.session = node, openvpn.clients[cid]
        self.since = self.world.disturbances.now
        self.kept_away = False
        self.world.note(f"{plan.label} connects to {node.name} as {cid}, informed {self.informed}")

    def try_in_vain(self, node: Node) -> None:
        """Somebody with its certificate connects, and a script refuses."""
        self.world.note(f"{self.plan.label} is refused by {node.name}")
        node.openvpn.connect(self.plan.name, self.plan.address.encode(), refused=True)
        for prefix in self.prefixes:  # routes follow until a listing shows otherwise
            self.world.disturbances.disturb(("prefix", prefix), REFUTED)

    def vanish(self) -> None:
        """It is gone, and nobody is told; OpenVPN finds out in the end."""
        node, session = self._leave("vanishes")
        self.world.nursery.start_soon(expire, node, session, self.world.plan.ping_restart)

    def say_goodbye(self) -> None:
        """It disconnects."""
        node, session = self._leave("says goodbye")
        if lists(node, session):
            node.openvpn.say(b">NOTIFY:info,remote-exit,EXIT\r\n")
        self.world.nursery.start_soon(expire, node, session, GOODBYE)

    def _leave(self, how: str) -> tuple[Node, Client]:
        assert self.node is not None
        assert self.session is not None
        node, session = self.node, self.session
        self.world.note(f"{self.plan.label} {how} from {node.name}")
        self.node = self.session = None
        self.kept_away = True
        return node, session


def lists(node: Node, session: Client) -> bool:
    """Whether this very session is listed there."""
    return node.openvpn.clients.get(session.cid) is session


async def expire(node: Node, session: Client, after: float) -> None:
    """OpenVPN finds out that a client is gone."""
    await trio.sleep(after)
    if lists(node, session):
        node.world.note(f"{node.name} ends session {session.cid}")
        node.openvpn.disconnect(session.cid, b"[ping-restart] received, client-instance restarting")


def make_room(node: Node, plan: DevicePlan) -> None:
    """What OpenVPN does with those who are there when a client connects.

    The same common name is dropped without a word, unless duplicate-cn is set; the address
    and networks go to the newest.
    """
    for cid, client in list(node.openvpn.clients.items()):
        if client.name == plan.name and not node.plan.duplicate_cn:
            del node.openvpn.clients[cid]
        elif client.address == plan.address.encode():
            client.address, client.address6, client.networks = b"", b"", ()


def claims(node: Node, name: bytes) -> bool:
    """Whether *name* is listed there, or the daemon there says so still."""
    said = node.server.daemon.node.rib.adj_rib_in(Source(Origin.LOCAL, ""))
    return any(n == name for _, n in node.lists()) or any(
        claim.advertisement.name == name for claim in said.values()
    )


def is_informed(node: Node, name: bytes) -> bool:
    """Whether a session that begins here now is known to be newer than all of its name."""
    world = node.world
    if not (node.running and world.disturbances.holds(("claims", node.name))):
        return False
    rivals = [other for other in node.others if claims(other, name)]
    return all(
        other.running
        and world.disturbances.holds(("claims", other.name), ("routes", node.name, other.name))
        for other in rivals
    )
