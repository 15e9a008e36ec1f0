"""The clients: what they do, and what their OpenVPN servers do with them."""

from __future__ import annotations

import trio

from cuberouted.model import Prefix
from cuberouted.routing.rib import Origin, Source
from tests.fakes.openvpn_listing import Client
from tests.simulation.plan import DevicePlan
from tests.simulation.world import Node, World

EXIT_TIME = 5.0
"""Seconds for which OpenVPN lists a client after its exit notification."""

REFUSAL_TIME = 60.0
"""Seconds after which all nodes have withdrawn a refused client, even after faults."""


class Device:
    """A client. ``node`` and ``session``: its own view of where it is connected.

    ``is_newest``: its session was known to be the newest of its name when it began.
    """

    def __init__(self, world: World, plan: DevicePlan) -> None:
        self.world = world
        self.plan = plan
        self.node: Node | None = None
        self.session: Client | None = None
        self.since = 0.0
        self.is_newest = False
        self._left_behind: dict[str, Client] = {}  # node -> a session that it may come back to

    @property
    def is_live(self) -> bool:
        """Whether it is connected, and its server lists it."""
        return self.node is not None and self.session is not None and lists(self.node, self.session)

    @property
    def prefixes(self) -> list[Prefix]:
        """The prefixes that it has while it is connected."""
        plan = self.plan
        return [Prefix.parse(t) for t in (plan.address, plan.address6, *plan.networks) if t]

    def connect(self, node: Node) -> None:
        """Connect; an old session elsewhere is not ended."""
        plan, openvpn = self.plan, node.openvpn
        self.is_newest = is_newest(node, plan.name)
        left = self._left_behind.pop(node.name, None)
        if left is not None and lists(node, left) and left.address:
            openvpn.come_back(left.cid)
            self.node, self.session = node, left
            self.since = self.world.disturbances.now
            self.world.counts["client: comes back to its session"] += 1
            self.world.note(f"{plan.label} is back on {node.name}, newest: {self.is_newest}")
            return
        displace_clients(node, plan)
        cid = openvpn.connect(
            plan.name,
            plan.address.encode(),
            address6=plan.address6.encode(),
            networks=tuple(text.encode() for text in plan.networks),
        )
        self.node, self.session = node, openvpn.clients[cid]
        self.since = self.world.disturbances.now
        self.world.note(f"{plan.label} connects to {node.name} as {cid}, newest: {self.is_newest}")

    def connect_refused(self, node: Node) -> None:
        """Another device with its certificate connects and is refused by a script."""
        self.world.note(f"{self.plan.label} is refused by {node.name}")
        node.openvpn.connect(self.plan.name, self.plan.address.encode(), refused=True)
        for prefix in self.prefixes:  # routes follow it until the next listing
            self.world.disturbances.disturb(("prefix", prefix), REFUSAL_TIME)

    def vanish(self) -> None:
        """End without notice; OpenVPN ends the session after ping-restart."""
        node, session = self._leave("vanishes")
        if self.plan.fixed_port:
            self._left_behind[node.name] = session
        self.world.nursery.start_soon(
            end_session_later, node, session, self.world.plan.ping_restart
        )

    def leave(self) -> None:
        """Disconnect with an exit notification."""
        node, session = self._leave("leaves")
        if lists(node, session):
            node.openvpn.say(b">NOTIFY:info,remote-exit,EXIT\r\n")
        self.world.nursery.start_soon(end_session_later, node, session, EXIT_TIME)

    def send_on(self) -> None:
        """Its server tells it to connect to the next one; the session ends there by itself."""
        left, _ = self._leave("is sent on")
        others = [node for node in self.world.nodes if node.serving and node is not left]
        self.connect(self.world.rng.choice(others or [left]))

    def _leave(self, how: str) -> tuple[Node, Client]:
        assert self.node is not None
        assert self.session is not None
        node, session = self.node, self.session
        self.world.note(f"{self.plan.label} {how} from {node.name}")
        self.node = self.session = None
        return node, session


def lists(node: Node, session: Client) -> bool:
    """Whether *node* lists this session."""
    return node.openvpn.clients.get(session.cid) is session


async def end_session_later(node: Node, session: Client, after: float) -> None:
    """OpenVPN notices after so many seconds that a client is gone."""
    renewals = session.renewals
    await trio.sleep(after)
    if lists(node, session) and session.renewals == renewals:
        node.world.note(f"{node.name} ends session {session.cid}")
        node.openvpn.disconnect(session.cid, b"[ping-restart] received, client-instance restarting")


def displace_clients(node: Node, plan: DevicePlan) -> None:
    """Do what OpenVPN does with the clients it has when another connects.

    A client with the same common name is removed without a message, unless duplicate-cn is
    set; the address and networks belong to the newest.
    """
    for cid, client in list(node.openvpn.clients.items()):
        if client.name == plan.name and not node.plan.duplicate_cn:
            del node.openvpn.clients[cid]
        elif client.address == plan.address.encode():
            client.address, client.address6, client.networks = b"", b"", ()


def advertises(node: Node, name: bytes) -> bool:
    """Whether *node* lists *name*, or its daemon still advertises it."""
    local = node.server.daemon.node.rib.adj_rib_in(Source(Origin.LOCAL, ""))
    return any(n == name for _, n in node.lists()) or any(
        route.advertisement.name == name for route in local.values()
    )


def is_newest(node: Node, name: bytes) -> bool:
    """Whether a session that begins on *node* now is known to be newer than all of its name."""
    world = node.world
    if not (node.running and world.disturbances.holds(("versions", node.name))):
        return False
    rivals = [other for other in node.others if advertises(other, name)]
    return all(
        other.running
        and world.disturbances.holds(("versions", other.name), ("routes", node.name, other.name))
        for other in rivals
    )
