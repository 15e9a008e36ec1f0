"""One run: the schedule of a seed, and the final checks."""

from __future__ import annotations

import gc
import hashlib
import traceback
from collections import Counter
from collections.abc import Callable

import attrs
import trio
from trio.testing import MockClock

from cuberouted.model import Prefix
from cuberouted.util.tasks import run_trio
from tests.simulation.devices import Device
from tests.simulation.faults import FAULTS, themes
from tests.simulation.invariants import InvariantMonitor
from tests.simulation.oracle import installed, is_blocked, misdelivered, violations
from tests.simulation.plan import Plan, plan
from tests.simulation.service_scenario import ServiceScenario
from tests.simulation.world import Node, World

SCAN_INTERVAL = 65.0
"""Seconds after which the periodic scan has repaired whatever is wrong."""

SNAPSHOT_HOLD_TIMES = 10
"""Hold times that may pass until a snapshot is requested again."""

ROAM_TIME = 0.1
"""Seconds within which all routes follow a client that roamed."""

KILL_DEADLINE = 27.0
"""Seconds within which a superseded session is killed: two listings of slow OpenVPNs, the five that
`client-kill` takes, and `life.STILL_TIME` where it could not be killed at once. At 30 s OpenVPN
ends it by itself."""

MAX_PASSES = 20_000
"""Turns of trio's loop without progress of time, more than a whole mesh ever needs to settle."""


@attrs.frozen
class Result:
    """``failure``: the first violation, or empty. ``fingerprint``: a hash of the trace."""

    seed: int
    failure: str
    seconds: float
    counts: Counter[str]
    fingerprint: str


def simulate(seed: int, trace: Callable[[str], None] = lambda _: None, theme: str = "") -> Result:
    """Run *seed*. *trace* is called with every line of the trace.

    *theme*: use the faults of this module only, which makes another run of the same seed.
    """
    digest = hashlib.sha256()

    def note(line: str) -> None:
        digest.update(line.encode())
        trace(line)

    kinds = {name: kinds for name, kinds in themes().items() if theme in name}
    run = Run(plan(seed, kinds), note)
    gc.disable()  # a run must not depend on when it collects
    try:
        run_trio(
            run.main, clock=MockClock(autojump_threshold=0), instruments=[LivelockDetector(run)]
        )
    except BaseExceptionGroup as error:
        note("".join(traceback.format_exception(_first(error))))
        run.world.failure = run.world.failure or f"a task has raised: {_first(error)!r}"
    finally:
        gc.enable()
    world = run.world
    return Result(seed, world.failure, run.ended_at, world.counts, digest.hexdigest()[:16])


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class LivelockDetector(trio.abc.Instrument):
    """Fails a run in which tasks keep running and no time passes."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._at = -1.0
        self._passes = 0

    def before_io_wait(self, _timeout: float) -> None:
        """See `trio.abc.Instrument`."""
        now = trio.current_time()
        self._passes = self._passes + 1 if now == self._at else 0
        self._at = now
        if self._passes == MAX_PASSES:
            self._run.world.fail(f"{MAX_PASSES} turns of the event loop without progress of time")


class Run:
    """The schedule of one seed."""

    world: World
    devices: list[Device]
    monitor: InvariantMonitor

    def __init__(self, plan: Plan, note: Callable[[str], None]) -> None:
        self.plan = plan
        self.ended_at = 0.0
        self._note = note
        self._frozen = False

    async def main(self) -> None:
        """Run to the end, or to the first violation."""
        async with trio.open_nursery() as nursery:
            self.world = world = World(nursery, self.plan, self._note)
            self._note(str(self.plan))
            self.devices = [Device(world, device) for device in self.plan.devices]
            self.monitor = InvariantMonitor(world, self.devices)
            for node in world.nodes:
                await world.start(node)
            nursery.start_soon(self.monitor.run)
            nursery.start_soon(self._scenario)
            await world.failed.wait()
            self.ended_at = trio.current_time()
            nursery.cancel_scope.cancel()

    async def _scenario(self) -> None:
        world = self.world
        async with trio.open_nursery() as nursery:
            for device in self.devices:
                world.nursery.start_soon(self._keep_connected, device)
            await self._schedule(nursery)
            world.note("no more faults")
            world.over.set()
        for node in world.nodes:
            if node.running and node.drained:
                await node.resume()
        await self._settle()
        self.monitor.services.check_flapping(sum(world.counts[kind] for kind in FAULTS))
        await self._check()
        for _ in range(3):
            await self._roam()
        await self._come_back()
        await ServiceScenario(world, self.monitor.services, self.devices).run()
        world.failed.set()

    async def _schedule(self, nursery: trio.Nursery) -> None:
        rng, plan = self.world.rng, self.plan
        while trio.current_time() < plan.duration:
            await trio.sleep(rng.expovariate(1 / plan.pause))
            if plan.kinds and rng.random() < 0.35:
                nursery.start_soon(self._fault, rng.choice(plan.kinds))
            else:
                self._move(rng.choice(self.devices))

    async def _fault(self, kind: str) -> None:
        if await FAULTS[kind](self.world):
            self.world.counts[kind] += 1

    # -- the clients --

    def _move(self, device: Device) -> None:
        rng = self.world.rng
        node = self._somewhere()
        if node is None:
            return
        what = rng.choice(("roam", "roam", "vanish", "goodbye", "refused"))
        if device.node is None:
            what = "connect"
        elif what == "roam" and device.is_live:
            leave = rng.choice((device.vanish, device.leave))
            leave()
        if what in ("connect", "roam"):
            device.connect(node)
        elif what == "refused":
            device.connect_refused(node)
        else:
            (device.vanish if what == "vanish" else device.leave)()
        self.world.counts[f"client: {what}"] += 1

    def _somewhere(self) -> Node | None:
        serving = [node for node in self.world.nodes if node.serving]
        return self.world.rng.choice(serving) if serving else None

    async def _keep_connected(self, device: Device) -> None:
        """A client whose session was ended connects again, a little later."""
        while not self._frozen:
            await trio.sleep(self.world.rng.uniform(1, 10))
            if device.node is None or device.is_live or self._frozen:
                continue
            node = self._somewhere()
            if node is not None:
                self.world.counts["client: connects again"] += 1
                device.connect(node)

    # -- the end --

    async def _settle(self) -> None:
        plan = self.plan
        snapshot = SNAPSHOT_HOLD_TIMES * plan.hold_time
        longest = max(SCAN_INTERVAL, snapshot, plan.restart_time, plan.status_interval) + 10
        await trio.sleep(20)
        self._frozen = True
        await trio.sleep(plan.ping_restart + longest)

    async def _check(self) -> None:
        """Check every kernel; what is wrong may be repaired within three seconds."""
        wrong = list(violations(self.world))
        if wrong:
            self.world.note(f"not right yet: {wrong}")
            await trio.sleep(3)
            wrong = list(violations(self.world))
        if wrong:
            for node in self.world.nodes:
                self.world.note(f"{node.name} running {node.running}: {_describe(node)}")
            self.world.fail("; ".join(wrong[:3]))

    async def _roam(self) -> None:
        """Without faults the newest session wins at once, though the old one is still listed."""
        world = self.world
        nodes = [node for node in world.nodes if node.running]
        if not nodes:
            return
        device, node = world.rng.choice(self.devices), world.rng.choice(nodes)
        if device.node is not None:
            device.vanish()
        device.connect(node)
        await self._check_routes(device, node, nodes)
        await trio.sleep(KILL_DEADLINE)
        for wrong in misdelivered(world):
            world.fail(wrong)
        for other in nodes:
            if other is not node and self._should_have_killed(other, device):
                world.fail(f"{other.name} keeps the dead session of {device.plan.label}")

    async def _come_back(self) -> None:
        """So does one that comes back to a session that is still listed."""
        nodes = [node for node in self.world.nodes if node.running]
        for device in self.devices:
            if not (device.plan.fixed_port and device.is_live and device.node in nodes):
                continue
            home = device.node
            for node in (next((n for n in nodes if n is not home), home), home):
                device.vanish()
                device.connect(node)
                await self._check_routes(device, node, nodes)

    async def _check_routes(self, device: Device, node: Node, nodes: list[Node]) -> None:
        await trio.sleep(ROAM_TIME)
        prefix = Prefix.parse(device.plan.address)
        for other in nodes:
            to = installed(other).get(prefix)
            wanted = (None, "tun0") if other is node else (node.name,)
            if to not in wanted and not is_blocked(other, prefix):
                self.world.fail(
                    f"{device.plan.label} is on {node.name}, {other.name} leads to {to}"
                )

    def _should_have_killed(self, node: Node, device: Device) -> bool:
        """Whether a superseded session is still listed, though nothing forbids to kill it."""
        name, address = device.plan.name, device.plan.address.encode()
        sessions = [c for c in node.openvpn.clients.values() if c.name == name]
        superseded = len(sessions) == 1 and sessions[0].address == address
        damped = self.monitor.is_damped(node, name)
        return superseded and node.plan.kill_superseded and not damped


def _describe(node: Node) -> str:
    routes = ", ".join(f"{prefix} {to}" for prefix, to in sorted(installed(node).items()))
    listed = ", ".join(f"{prefix}" for prefix, _ in node.lists())
    return f"routes {routes}; lists {listed}"
