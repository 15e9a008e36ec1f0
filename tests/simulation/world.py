"""State of one run: the mesh, the true connections, the trace, the first failure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import trio

from cuberouted.api.report_drain import DrainOrder
from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.maintenance import MaintenanceError
from cuberouted.events import Event, Level
from cuberouted.model import Prefix
from cuberouted.routing.types import Address
from tests.fakes.mesh import Mesh
from tests.fakes.openvpn import FakeOpenVPN
from tests.fakes.server import Server, section_of
from tests.simulation.commands import Commands
from tests.simulation.disturbances import Disturbances
from tests.simulation.kernel import SimulatedKernel
from tests.simulation.plan import CLIENT_NETWORK, WIDE, NodePlan, Plan
from tests.simulation.replay import Replay

BOOT = 3
"""RTPROT_BOOT: OpenVPN's own routes."""

SENDING_ON_TIME = 30.0
"""Seconds after which a slow OpenVPN has sent on whom it was told to."""

SERVICE_DEVICE = "lo"
"""Where addresses of services are."""

MIN_RESTART_INTERVAL = 15.0
"""Seconds. Peers may withdraw the routes of a daemon that restarts more often."""


class SimulatedMesh(Mesh):
    kernel_type = SimulatedKernel


class Node:
    """A server and the state that the simulation keeps of it.

    ``goodbye_sent``: its daemon announced a restart when it ended. ``serving``: clients can
    connect. ``gone``: it stays down until the faults are over. ``damping_since``: when its
    daemon last forgot which names it has killed. ``priorities``: of its services, by name; those
    that are not there are not in its configuration. ``commands``: those of its services.
    ``started_at``: when its daemon was started last. ``on_run`` are called then, and
    ``on_stopped`` after an orderly stop. ``drained``: whether that was ordered last; None while
    an order is given. ``address_faults``: how often its kernel was made to refuse addresses.
    """

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
        self.priorities = {
            service.name: service.seats[plan.name].priority
            for service in world.plan.services
            if plan.name in service.seats
        }
        durations = [service.durations(plan.name) for service in world.plan.services]
        self.commands = Commands(dict(item for some in durations for item in some.items()))
        self.server.commands = self.commands
        self.replay: Replay
        self.server.on_start = self._follow
        self.on_run: list[Callable[[], None]] = []
        self.on_stopped: list[Callable[[], None]] = []
        self.running = False
        self.started_at = 0.0
        self.drained: bool | None = False
        self.damping_since = 0.0
        self.goodbye_sent = False
        self.address_faults = 0
        self.serving = True
        self.gone = False
        self.kernel.add_ethernet("eth0")  # the device of foreign routes
        self.add_own_routes()
        self.allowed = [Prefix.parse(p) for p in (WIDE if plan.wide else (CLIENT_NETWORK,))]

    def configure(self) -> None:
        """Write its configuration, for the next start or reload."""
        world, name = self.world, self.server.node
        peers = [world.section(other) for other in self.others if other.name != name]
        services = [
            service.section(self.name, self.priorities[service.name])
            for service in world.plan.services
            if service.name in self.priorities
        ]
        self.server.sections = [*peers, *services]

    def _follow(self, daemon: Daemon) -> None:
        self.started_at = self.world.disturbances.now
        for call in self.on_run:
            call()
        self.replay = Replay(daemon, self.world.fail)
        daemon.events.listeners.append(self._note)

    def _note(self, event: Event) -> None:
        if event.level is not Level.DEBUG:
            self.world.note(f"{self.name}: event {event}")

    @property
    def openvpn(self) -> FakeOpenVPN:
        """Its OpenVPN."""
        return self.server.openvpn

    @property
    def kernel(self) -> SimulatedKernel:
        """Its kernel."""
        assert isinstance(self.server.kernel, SimulatedKernel)
        return self.server.kernel

    def add_own_routes(self) -> None:
        """OpenVPN has its own routes in the main table, besides that of tun0's IPv4 address."""
        for network in ("fd00:100::/64", *self.plan.own_routes):
            metric = 1024 if ":" in network else 0
            self.kernel.add_route(network, "tun0", metric, protocol=BOOT)

    @property
    def is_active(self) -> bool:
        """Whether it is neither drained nor in maintenance."""
        return self.server.daemon.maintenance.is_active

    async def drain(self, over: float) -> bool:
        """Order it to send its clients on in *over* seconds. Returns False if it refuses."""
        self.drained = None
        order = DrainOrder(over=over, reason="simulated")
        try:
            await self.server.daemon.maintenance.drain(order, "simulation")
        except MaintenanceError as error:
            self.world.note(f"{self.name} is not drained: {error}")
        self.drained = not self.is_active
        return self.drained

    async def resume(self) -> None:
        """Order it to take clients again."""
        self.drained = None
        # some commands may be on their way to its OpenVPN
        self.world.disturbances.disturb(("drained", self.name), SENDING_ON_TIME)
        await self.server.daemon.maintenance.resume("simulation")
        self.drained = not self.is_active

    def add_address(self, prefix: Prefix) -> bool:
        """Somebody adds the address of a service. Returns False if it is there."""
        if self.kernel.has_address(prefix.address):
            return False
        device = self.kernel.devices[SERVICE_DEVICE]
        device.addresses.append(Address(prefix.address, prefix))
        self.kernel.tell_links()
        return True

    def remove_address(self, prefix: Prefix) -> bool:
        """Somebody removes the address of a service. Returns False if it is not there."""
        device = self.kernel.devices[SERVICE_DEVICE]
        there = next((a for a in device.addresses if a.local == prefix.address), None)
        if there is None:
            return False
        device.addresses.remove(there)
        device.ours.discard(prefix.address)
        self.kernel.tell_links()
        return True

    @property
    def others(self) -> list[Node]:
        """All but this one."""
        return [node for node in self.world.nodes if node is not self]

    async def answering(self) -> None:
        """Wait until its kernel answers; a daemon needs it to start and to end."""
        while self.kernel.broken is not None:  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.05)

    def allows(self, prefix: Prefix) -> bool:
        """Whether allowed_networks contain *prefix*."""
        return any(network.contains(prefix) for network in self.allowed)

    def lists(self) -> Iterator[tuple[Prefix, bytes]]:
        """Prefix and common name of each row that its OpenVPN lists."""
        for client in self.openvpn.clients.values():
            for route in client.routes:
                yield Prefix.parse(route.decode()), client.name


class World:
    """State of one run. ``failure``: the first violation, or empty. ``counts``: of all events."""

    def __init__(self, nursery: trio.Nursery, plan: Plan, trace: Callable[[str], None]) -> None:
        self.plan = plan
        self.nursery = nursery
        self.rng = random.Random(f"faults {plan.seed}")
        self.mesh = SimulatedMesh(nursery, plan.seed)
        self.disturbances = Disturbances()
        self.counts: Counter[str] = Counter()
        self.failure = ""
        self.failed = trio.Event()
        self.over = trio.Event()
        self.busy: set[Hashable] = set()
        self._trace = trace
        self.nodes = [Node(self, node) for node in plan.nodes]
        for node in self.nodes:
            node.configure()

    def section(self, peer: Node) -> str:
        """The section for *peer* in the configurations of the others."""
        data_ip = f"\ndata_ip = {peer.server.data_address}" if self.plan.data_ips else ""
        return section_of(peer.server) + data_ip

    @contextmanager
    def occupied(self, what: Hashable) -> Iterator[None]:
        """Keep *what* in `busy` meanwhile, so that the same fault is not injected twice."""
        self.busy.add(what)
        yield
        self.busy.discard(what)

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self._trace(f"{trio.current_time():10.4f} {text}")

    def fail(self, why: str) -> None:
        """Record a violation, and end the run."""
        self.note(f"FAILED {why}")
        if not self.failure:
            self.failure = f"at {trio.current_time():.3f} s: {why}"
        self.failed.set()

    def holders(self, prefix: Prefix) -> list[Node]:
        """The nodes whose OpenVPN lists *prefix*."""
        return [node for node in self.nodes if any(p == prefix for p, _ in node.lists())]

    async def start(self, node: Node) -> None:
        """Start a node's daemon."""
        await node.answering()
        self.note(f"start {node.name}")
        node.damping_since = trio.current_time()
        self.disturbances.disturb(("restarted", node.name), MIN_RESTART_INTERVAL)
        # it does not advertise its clients until its first listing is complete
        self.disturbances.disturb(("versions", node.name), 2 * self.plan.hold_time)
        await node.server.start()
        node.running = True

    async def stop(self, node: Node) -> None:
        """Stop it in order."""
        self.note(f"stop {node.name}")
        node.running, node.goodbye_sent = False, node.plan.keep
        for other in () if node.plan.keep else node.others:
            self.disturbances.disturb(("routes", node.name, other.name), self.plan.restart_time)
        await node.answering()
        await node.server.stop()
        left = node.kernel.installed
        expected = node.plan.keep or not self.disturbances.holds(("kernel", node.name))
        if (left.routes or left.nexthops) and not expected:
            self.fail(f"{node.name} left routes behind: {left}")
        could = self.disturbances.holds(("addresses", node.name))
        for service in self.plan.services if could and not node.plan.keep else ():
            if service.name in node.priorities and node.kernel.has_address(service.prefix.address):
                self.fail(f"{node.name} left the address of {service.name} behind")
        for call in node.on_stopped:
            call()

    async def crash(self, node: Node) -> None:
        """Kill it."""
        self.note(f"crash {node.name}")
        node.running = node.goodbye_sent = False
        await node.server.crash()
