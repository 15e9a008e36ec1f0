"""Invariants, checked at every change of a kernel, every kill, and periodically."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from trio.testing import wait_all_tasks_blocked

from cuberouted.model import Prefix
from cuberouted.routing.types import Change, Op, Route
from tests.fakes.kernel_state import Place
from tests.fakes.openvpn_listing import Client
from tests.simulation.devices import Device
from tests.simulation.kernel import Lost
from tests.simulation.oracle import installed
from tests.simulation.service_monitor import ServiceMonitor
from tests.simulation.world import Node, World

CHECK_INTERVAL = 0.5
"""Seconds between two checks of what no event reports."""

KILLS_AT_ONCE, KILL_INTERVAL = 5, 60.0
"""Kills of a name that need no pause, and the seconds for each further one (`KillDamping`)."""

KILL_TIME = 6.0
"""Seconds within which ``client-kill``, which takes five, has taken effect."""


class InvariantMonitor:
    """Checks one run. ``services``: what checks its services."""

    def __init__(self, world: World, devices: Sequence[Device]) -> None:
        self.world = world
        self.devices = devices
        self._held: dict[Prefix, tuple[tuple[str, ...], float]] = {}
        self._named: dict[tuple[str, bytes], float] = {}
        self._killed: dict[tuple[str, bytes], list[float]] = {}
        self._sent_on: dict[int, Client] = {}
        self.services = ServiceMonitor(world)
        for node in world.nodes:
            self._attach(node)

    def _attach(self, node: Node) -> None:
        def on_apply(made: Sequence[Change], lost: Lost, touched: Sequence[Place]) -> None:
            self.check_changes(node, made, lost, touched)

        node.kernel.on_apply = on_apply
        node.openvpn.on_drop = lambda client: self.check_kill(node, client)
        node.openvpn.on_sent_on = lambda client: self.check_sent_on(node, client)

    async def run(self) -> None:
        """Check again and again until cancelled."""
        while True:
            # a daemon that is handling something has changed its RIB, and its kernel not yet
            await wait_all_tasks_blocked()
            self.check()
            await trio.sleep(CHECK_INTERVAL)

    def check(self) -> None:
        """Record where each prefix is listed; check that local clients have no route."""
        now = self.world.disturbances.now
        holders: dict[Prefix, list[str]] = {}
        for device in self.devices:
            if device.is_live and device.session is not None:
                device.session.received += 100
        for node in self.world.nodes:
            names: list[bytes] = [client.name for client in node.openvpn.clients.values()]
            for name in names:
                self._named[node.name, name] = now
            for prefix, _ in node.lists():
                holders.setdefault(prefix, []).append(node.name)
        for prefix in self._held.keys() | holders.keys():
            at = tuple(holders.get(prefix, ()))
            if self._held.get(prefix, ((), 0.0))[0] != at:
                self._held[prefix] = at, now
        for node in self.world.nodes:
            self._check_local(node)
            self._check_maintenance(node)
        self.services.check()

    def _check_maintenance(self, node: Node) -> None:
        """What was ordered last holds, also after restarts."""
        if node.running and node.drained is node.is_active:
            self.world.fail(f"{node.name}: {node.drained=}, {node.is_active=}")

    # -- the kernel --

    def check_changes(
        self, node: Node, made: Sequence[Change], lost: Lost, touched: Sequence[Place]
    ) -> None:
        """Check one `apply` of *node*."""
        world = self.world
        for change in made:
            world.note(f"{node.name}: {change.op.value} {_describe(change)}")
        if touched:
            world.fail(f"{node.name} changed a foreign route: {touched[0]}")
        for op, what in made:
            if op is Op.ADD and isinstance(what, Route) and not node.allows(what.prefix):
                world.fail(f"{node.name} installed {what.prefix}, which is not allowed")
        for prefix, device in lost.items():
            self._check_loss(node, prefix, device)

    def _check_loss(self, node: Node, prefix: Prefix, device: int) -> None:
        """A route that is still right is never deleted, unless something is disturbed."""
        names = {d.index: name for name, d in node.kernel.devices.items()}
        to = names.get(device, "").removeprefix("to-")
        peer = next((other for other in node.others if other.name == to), None)
        if peer is None or not self._is_right(prefix, peer):
            return
        undisturbed = ("routes", node.name, to), ("kernel", node.name), ("prefix", prefix)
        if self.world.disturbances.holds(*undisturbed):
            self.world.fail(f"{node.name} deleted its route for {prefix}, which is on {to}")

    def _is_right(self, prefix: Prefix, peer: Node) -> bool:
        if prefix == Prefix.parse(peer.server.data_address):
            return True
        at, since = self._held.get(prefix, ((), 0.0))
        steady = at == (peer.name,) and self.world.disturbances.now > since + self.steady
        return steady and self.world.holders(prefix) == [peer]

    @property
    def steady(self) -> float:
        """Seconds after which all nodes have received where a client is connected."""
        return 10 + 2 * self.world.plan.poll_interval

    def _check_local(self, node: Node) -> None:
        """A prefix whose best route is local has none to another node, and one only if covered."""
        busy = node.server.daemon.node.kernel_sync.busy
        if not node.running or busy or not self.world.disturbances.holds(("kernel", node.name)):
            return
        rib = node.server.daemon.node.rib
        elsewhere = [p for p, best in rib.best_routes() if not (p.is_host or best.leads_here)]
        for prefix, to in installed(node).items():
            best = rib.followed(prefix)
            around = any(wider.contains(prefix) and wider != prefix for wider in elsewhere)
            if best is None or (best.leads_here and to != "tun0") or (best.is_local and not around):
                self.world.fail(f"{node.name}: {prefix} leads to {to}, its best route is {best}")

    def check_sent_on(self, node: Node, client: Client) -> None:
        """Check a client that *node* sends on, and let it go to another server."""
        self._sent_on[id(client)] = client
        self.world.counts["clients sent on"] += 1
        if node.drained is False and self.world.disturbances.holds(("drained", node.name)):
            self.world.fail(f"{node.name} sends {client.name!r} on, though it is not drained")
        device = next((d for d in self.devices if d.session is client), None)
        if device is not None:
            device.send_on()

    # -- kills --

    def check_kill(self, node: Node, client: Client) -> None:
        """Check a kill: *node*'s OpenVPN ended the session of *client* on cuberouted's request."""
        world = self.world
        if self._sent_on.pop(id(client), None) is not None:
            return
        listed = [
            c for c in node.openvpn.clients.values() if node.server.wall_clock() > c.since + 10
        ]
        device = next((d for d in self.devices if d.session is client), None)
        label = device.plan.label if device else "a dead session of"
        world.note(f"{node.name} kills {label} {client.name!r}")
        world.counts["kills"] += 1
        if not node.plan.kill_superseded:
            world.fail(f"{node.name} killed {client.name!r}, though kill_superseded_sessions = no")
        if any(c.name == client.name for c in listed) and not node.openvpn.lag:
            world.fail(f"{node.name} killed {client.name!r}, of which it lists several sessions")
        self._check_damping(node, client.name)
        if device is not None:
            world.counts["kills of live clients"] += 1
            self._check_live(node, device)

    def is_damped(self, node: Node, name: bytes) -> bool:
        """Whether *node* may have to wait until it kills a session of *name* again."""
        tokens, at = float(KILLS_AT_ONCE), 0.0
        for time in [*self._kills(node, name), trio.current_time()]:
            tokens = min(tokens + (time - at) / KILL_INTERVAL, KILLS_AT_ONCE) - 1.0
            at = time
        return tokens < 1.0

    def _kills(self, node: Node, name: bytes) -> list[float]:
        """When *node* killed sessions of *name*, without those from before a restart."""
        # client-kill takes five seconds, so the last one may be from before a restart
        since = node.damping_since + KILL_TIME
        return [time for time in self._killed.get((node.name, name), []) if time > since]

    def _check_damping(self, node: Node, name: bytes) -> None:
        now, kills = trio.current_time(), self._kills(node, name)
        # two kills may be five seconds closer than they were requested; and one `kill` may end two
        # sessions
        for count, first in enumerate(sorted({t for t in kills if t < now}, reverse=True), start=2):
            if now < first + (count - KILLS_AT_ONCE) * KILL_INTERVAL - KILL_TIME:
                self.world.fail(f"{node.name} kills {name!r} {count} times in {now - first:.1f} s")
        killed = now - self.world.disturbances.stalled_within(6)
        self._killed.setdefault((node.name, name), []).append(killed)

    def _check_live(self, node: Node, device: Device) -> None:
        """A live client is killed only for a newer session of its name, or after a fault."""
        world, name = self.world, device.plan.name
        if any(n == name for other in node.others for _, n in other.lists()):
            seen = self.world.disturbances.now
        else:
            seen = max((self._named.get((o.name, name), -1e9) for o in node.others), default=-1e9)
        peers = [("routes", node.name, other.name) for other in node.others]
        if self.world.disturbances.now > seen + self.steady and world.disturbances.holds(*peers):
            world.fail(f"{node.name} killed {device.plan.label}, which is connected nowhere else")
        undisturbed = world.disturbances.since(("versions", node.name)) < device.since
        # `kill` is by name: it may end a session that began while OpenVPN was slow to handle it
        crossed = world.disturbances.now < device.since + 3 * node.openvpn.lag
        # and `client-kill`, which such a name needs, ends a session five seconds later, also where
        # its client has come back to it meanwhile
        crossed |= b":" in name and world.disturbances.now < device.since + KILL_TIME
        # IPv6 addresses and networks are known from listings only, later where those take long
        late = len(device.prefixes) > 1 and any(o.openvpn.lag for o in node.others)
        alone = sum(other.plan.name == name for other in self.devices) == 1
        safe = alone and device.is_newest and undisturbed
        if safe and not crossed and not late:
            world.fail(f"{node.name} killed {device.plan.label}, the newest of its name")


def _describe(change: Change) -> str:
    return str(change.what) if not isinstance(change.what, Route) else _route(change.what)


def _route(route: Route) -> str:
    return f"route {route.prefix} nexthop {route.nexthop}"
