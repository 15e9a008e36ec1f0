"""One run's world: the mesh, who is truly connected where, the trace, and what went wrong."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import trio

from cuberouted.model import Prefix
from tests.fakes.mesh import Mesh
from tests.fakes.openvpn import FakeOpenVPN
from tests.fakes.server import Server, section_of
from tests.simulation.disturbances import Disturbances
from tests.simulation.kernel import SimulatedKernel
from tests.simulation.plan import CLIENT_NETWORK, WIDE, NodePlan, Plan

ONCE_IN = 15.0
"""A daemon that restarts more often than in so many seconds may lose its peers' trust."""


class SimulatedMesh(Mesh):
    kernel_type = SimulatedKernel


class Node:
    """A server, and what the simulation does with it."""

    def __init__(self, world: World, plan: NodePlan) -> None:
        self.plan = plan
        self.name = plan.name
        self.world = world
        self.server: Server = world.mesh.add(
            plan.name,
            *world.plan.settings,
            f"on_exit = {'keep' if plan.keep else 'withdraw'}",
            f"kill_superseded_sessions = {'yes' if plan.kill_superseded else 'no'}",
            f"allowed_networks = {', '.join(WIDE if plan.wide else WIDE[:1])}",
            table=plan.table,
        )
        self.server.skew = plan.skew
        self.openvpn.version = plan.version
        self.openvpn.lag = plan.lag
        self.running = False
        self.came_at = 0.0
        self.said_goodbye = False
        self.serving = True
        self.gone = False
        self.kernel.add_ethernet("eth0")  # where others' routes lead
        self.allowed = [Prefix.parse(p) for p in (WIDE if plan.wide else (CLIENT_NETWORK,))]

    @property
    def openvpn(self) -> FakeOpenVPN:
        """Its OpenVPN."""
        return self.server.openvpn

    @property
    def kernel(self) -> SimulatedKernel:
        """Its kernel."""
        assert isinstance(self.server.kernel, SimulatedKernel)
        return self.server.kernel

    @property
    def others(self) -> list[Node]:
        """All but this one."""
        return [node for node in self.world.nodes if node is not self]

    async def answering(self) -> None:
        """Wait until its kernel does. Without it a daemon neither starts nor ends well."""
        while self.kernel.broken is not None:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.05)

    def allows(self, prefix: Prefix) -> bool:
        """Whether *prefix* may be routed here."""
        return any(network.contains(prefix) for network in self.allowed)

    def lists(self) -> Iterator[tuple[Prefix, bytes]]:
        """Prefix and common name of all that its OpenVPN lists."""
        for client in self.openvpn.clients.values():
            for route in client.routes:
                yield Prefix.parse(route.decode()), client.name


class World:
    """Everything of one run. ``failure``: the first broken promise, or empty."""

    def __init__(self, nursery: trio.Nursery, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.nursery = nursery
        self.dice = random.Random(f"faults {plan.seed}")
        self.mesh = SimulatedMesh(nursery, plan.seed)
        self.disturbances = Disturbances()
        self.happened: Counter[str] = Counter()
        self.failure = ""
        self.failed = trio.Event()
        self.over = trio.Event()
        self.busy: set[Hashable] = set()
        self._announce = say
        self.nodes = [Node(self, node) for node in plan.nodes]
        for node in self.nodes:
            node.server.sections = [self._section(other) for other in node.others]

    def _section(self, peer: Node) -> str:
        data_ip = f"\ndata_ip = {peer.server.data_address}" if self.plan.data_ips else ""
        return section_of(peer.server) + data_ip

    @contextmanager
    def occupied(self, what: Hashable) -> Iterator[None]:
        """Meanwhile *what* is in `busy`."""
        self.busy.add(what)
        yield
        self.busy.discard(what)

    def note(self, text: str) -> None:
        """A line for the trace."""
        self._announce(f"{trio.current_time():10.4f} {text}")

    def fail(self, why: str) -> None:
        """A promise is broken."""
        self.note(f"FAILED {why}")
        if not self.failure:
            self.failure = f"at {trio.current_time():.3f} s: {why}"
        self.failed.set()

    def holders(self, prefix: Prefix) -> list[Node]:
        """Where *prefix* is listed."""
        return [node for node in self.nodes if any(p == prefix for p, _ in node.lists())]

    async def start(self, node: Node) -> None:
        """Start a node's daemon."""
        await node.answering()
        self.note(f"start {node.name}")
        node.came_at = trio.current_time()
        self.disturbances.disturb(("restarted", node.name), ONCE_IN)
        # until its first listing is complete it tells nobody of its clients
        self.disturbances.disturb(("claims", node.name), 2 * self.plan.hold_time)
        await node.server.start()
        node.running = True

    async def stop(self, node: Node) -> None:
        """End it in good order."""
        self.note(f"stop {node.name}")
        node.running, node.said_goodbye = False, node.plan.keep
        for other in () if node.plan.keep else node.others:
            self.disturbances.disturb(("routes", node.name, other.name), self.plan.restart_time)
        await node.answering()
        await node.server.stop()
        left = node.kernel.installed
        expected = node.plan.keep or not self.disturbances.holds(("kernel", node.name))
        if (left.routes or left.nexthops) and not expected:
            self.fail(f"{node.name} has left routes behind: {left}")

    async def crash(self, node: Node) -> None:
        """End it without another word."""
        self.note(f"crash {node.name}")
        node.running = node.said_goodbye = False
        await node.server.crash()
