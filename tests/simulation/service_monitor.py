"""Invariants of shared service addresses that hold at every moment, also during faults."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import attrs
import trio

from cuberouted.model import Prefix
from cuberouted.service_claim import ServiceClaim, ServicePhase
from tests.simulation.commands import Command, Outcome
from tests.simulation.service_plan import ServicePlan
from tests.simulation.world import Node, World

LOOK_INTERVAL = 1.0
"""Seconds after which a node has looked at everything again."""

MARGIN = 0.3
"""Seconds that a daemon and its kernel need for what they have decided."""

KILL_TIME = 0.4
"""Seconds within which a command is killed that has become pointless."""

BACK_OFF, MAX_BACK_OFF = 10.0, 300.0
"""Seconds after a command's first failure in a row, and after any."""


class Programs(enum.Enum):
    """What on_acquire and on_release have done on a node so far. UNKNOWN: either may be next."""

    UNKNOWN = "unknown"
    ACQUIRING = "on_acquire runs"
    FAILED = "on_acquire has failed or was killed"
    ACQUIRED = "on_acquire has succeeded"
    RELEASING = "on_release runs"
    RELEASED = "on_release has ended"


@attrs.define
class Holding:
    """What is known of one service on one node.

    ``had``: its daemon has put the address there, or found it at its start. ``fenced``: when the
    fence has succeeded for a peer last. ``wrong_since``: since when address and claim differ.
    ``fencing``: whom the fence that runs is about. ``pointless_since``: since when a command runs
    for an address that it cannot get. ``failures``: of fence and on_acquire, since it was taken
    last or there was a reload, the last of them at ``failed_at``; ``retry_at``: not before that.
    ``machine``: what decides; another one after its section was removed and added.
    """

    had: bool = False
    programs: Programs = Programs.UNKNOWN
    running: set[str] = attrs.field(factory=set)
    fenced: dict[str, float] = attrs.field(factory=dict)
    wrong_since: float = math.inf
    fencing: str = ""
    pointless_since: float = math.inf
    failures: int = 0
    failed_at: float = -math.inf
    retry_at: float = -math.inf
    machine: object = None


class ServiceMonitor:
    """Checks the services of one run. ``taken``: how often each was taken by a node."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.taken: Counter[str] = Counter()
        self._holdings: dict[tuple[str, str], Holding] = {}
        self._both: dict[tuple[str, str, str], float] = {}
        self._heard: dict[tuple[str, str], float] = {}
        for node in world.nodes:
            self._attach(node)

    def _attach(self, node: Node) -> None:
        node.kernel.on_address = lambda address, there: self._on_address(node, address, there)
        node.kernel.on_refused = lambda address: self._on_refused(node, address)
        node.commands.on_start = lambda command: self._on_start(node, command)
        node.commands.on_end = lambda command, outcome: self._on_end(node, command, outcome)
        node.on_run.append(lambda: self._on_run(node))
        node.on_stopped.append(lambda: self._on_stopped(node))

    def holding(self, node: Node, service: ServicePlan) -> Holding:
        """What is known of *service* on *node*."""
        return self._holdings.setdefault((node.name, service.name), Holding())

    def check_flapping(self, faults: int) -> None:
        """So many faults have begun and ended since the start: each moves a service twice at most.

        A node takes it when the fault begins, or is found, and again when it is over.
        """
        for service in self.world.plan.services:
            taken, limit = self.taken[service.name], len(service.seats) + 2 * faults
            if taken > limit:
                self.world.fail(
                    f"service {service.name} was taken {taken} times in {faults} faults"
                )

    # -- what happens --

    def _on_run(self, node: Node) -> None:
        """A daemon starts."""
        for service in self.world.plan.services:
            had = has_address(node, service)
            self._holdings[node.name, service.name] = Holding(had=had)

    def _on_stopped(self, node: Node) -> None:
        """It was stopped in order; with on_exit = keep its services stay as they are."""
        if node.plan.keep or not self.world.disturbances.holds(("addresses", node.name)):
            return
        for service in self.world.plan.services:
            seat, programs = service.seats.get(node.name), self.holding(node, service).programs
            undone = programs not in (Programs.ACQUIRED, Programs.FAILED)
            if seat is not None and "on_release" in seat.programs and not undone:
                self._fail(node, service, f"the daemon was stopped, though {programs.value}")

    def _on_address(self, node: Node, address: bytes, there: bool) -> None:
        service = next(s for s in self.world.plan.services if s.prefix.address == address)
        holding = self.holding(node, service)
        if there != holding.had:
            self.world.note(f"{node.name}: {service.name} is {'here' if there else 'gone'}")
        seat = service.seats.get(node.name)
        if there and seat is not None and "on_acquire" not in seat.programs:
            holding.programs = Programs.ACQUIRED
        if there and not holding.had:
            self.taken[service.name] += 1
            self.world.counts["services taken"] += 1
            for wrong in self._taken_wrongly(node, service, holding):
                self.world.fail(f"{node.name} takes {service.name}, {wrong}")
            holding.failures, holding.retry_at = 0, -math.inf
        if not there and seat is not None and "on_release" not in seat.programs:
            holding.programs = Programs.RELEASED
        holding.had = there

    def _on_refused(self, node: Node, address: bytes) -> None:
        """It was about to be there, and is to be released again."""
        service = next(s for s in self.world.plan.services if s.prefix.address == address)
        seat, holding = service.seats.get(node.name), self.holding(node, service)
        if seat is not None and "on_release" not in seat.programs:
            holding.programs = Programs.RELEASED
        elif seat is not None and "on_acquire" not in seat.programs:
            holding.programs = Programs.ACQUIRED

    def _on_start(self, node: Node, command: Command) -> None:
        service = next(s for s in self.world.plan.services if s.name == command.service)
        holding = self.holding(node, service)
        program, before = command.program, holding.programs
        local = node.server.daemon.services.local
        machine = next((one.machine for one in local if one.config.name == service.name), None)
        if holding.machine is not machine or _is_reloaded(node, holding):
            holding.machine, holding.failures, holding.retry_at = machine, 0, -math.inf
        if program in holding.running or (program != "check" and holding.running - {"check"}):
            self._fail(node, service, f"{program} starts while {holding.running} run")
        holding.running.add(program)
        if program == "check":
            return
        self.world.note(f"{node.name}: {program} of {service.name} {command.peer}")
        if program != "on_release" and trio.current_time() < holding.retry_at:
            self._fail(node, service, f"{program} starts too soon after a failure")
        if program == "on_acquire":
            if before in (Programs.ACQUIRED, Programs.FAILED):
                self._fail(node, service, f"on_acquire starts, though {before.value}")
            holding.programs = Programs.ACQUIRING
        elif program == "fence":
            holding.fencing = command.peer
        elif program == "on_release":
            if before is Programs.RELEASED:
                self._fail(node, service, f"on_release starts, though {before.value}")
            holding.programs = Programs.RELEASING

    def _on_end(self, node: Node, command: Command, outcome: Outcome) -> None:
        service = next(s for s in self.world.plan.services if s.name == command.service)
        holding = self.holding(node, service)
        holding.running.discard(command.program)
        match command.program:
            case "fence" if outcome.ok:
                holding.fenced[command.peer] = trio.current_time()
            case "on_acquire":
                undo = "on_release" in service.seats[node.name].programs
                failed = Programs.FAILED if undo else Programs.RELEASED
                holding.programs = Programs.ACQUIRED if outcome.ok else failed
            case "on_release":
                holding.programs = Programs.UNKNOWN if outcome.killed else Programs.RELEASED
        if command.program in ("fence", "on_acquire") and not (outcome.ok or outcome.killed):
            if _is_reloaded(node, holding):
                holding.failures = 0
            holding.failures, holding.failed_at = holding.failures + 1, trio.current_time()
            pause = min(BACK_OFF * 2 ** (holding.failures - 1), MAX_BACK_OFF)
            holding.retry_at = holding.failed_at + pause

    # -- taking it --

    def _taken_wrongly(self, node: Node, service: ServicePlan, holding: Holding) -> Iterator[str]:
        """What forbids that *node* takes the address now."""
        seat = service.seats.get(node.name)
        if seat is None or service.name not in node.priorities:
            yield "without a section for it"
            return
        if "on_acquire" in seat.programs and holding.programs is not Programs.ACQUIRED:
            yield f"though {holding.programs.value}"
        if not node.is_active and any(_waits(node, other, service) for other in node.others):
            yield "though it is in maintenance, and another waits for it"
        if service.nearest:
            return
        for other in node.others:
            if has_address(other, service) and self._learns(node, other):
                yield f"before it knows what {other.name} has"
            if has_address(other, service) and self._know_each_other(node, other):
                yield f"while {other.name} has it, and they hear each other"
        if service.witness and self._silence(node, service) > self.world.plan.hold_time:
            yield "though it hears nobody"
        if "fence" in seat.programs:
            yield from self._unfenced(node, holding)

    def _unfenced(self, node: Node, holding: Holding) -> Iterator[str]:
        for other in node.others:
            peer = node.server.daemon.peers.get(other.name)
            if peer is None or peer.session.state == "up" or peer.session.has_shut_down:
                continue
            if holding.fenced.get(other.name, -math.inf) < peer.session.last_heard:
                yield f"and has not fenced {other.name} since it heard it"

    def _learns(self, node: Node, other: Node) -> bool:
        """Whether *node* is about to be told the claims of *other*."""
        peer = node.server.daemon.peers.get(other.name)
        return peer is not None and peer.session.state == "syncing" and is_reached(node, other)

    def _know_each_other(self, a: Node, b: Node) -> bool:
        """Whether each has the present claims of the other."""
        undisturbed = ("claims", a.name, b.name), ("claims", b.name, a.name)
        both = hears(a, b) and hears(b, a)
        return both and self.world.disturbances.holds(*undisturbed)

    # -- having it --

    def check(self) -> None:
        """Check what no event reports."""
        for service in self.world.plan.services:
            for node in self.world.nodes:
                self._check_claim(node, service)
                self._check_commands(node, service)
                if service.witness:
                    self._check_witness(node, service)
            if not service.nearest:
                for a, b in combinations(self.world.nodes, 2):
                    self._check_both(a, b, service)

    def _check_claim(self, node: Node, service: ServicePlan) -> None:
        """The address is where it is claimed, and nowhere else."""
        now, holding = self.world.disturbances.now, self.holding(node, service)
        claim = claim_of(node, service)
        claimed = claim is not None and claim.phase.has_address
        if not self._is_looking(node) or claimed == has_address(node, service):
            holding.wrong_since = math.inf
            return
        holding.wrong_since = min(holding.wrong_since, now)
        if now > holding.wrong_since + LOOK_INTERVAL + MARGIN:
            there = "has" if has_address(node, service) else "lacks"
            self._fail(node, service, f"it {there} the address, its claim is {claim}")

    def _check_commands(self, node: Node, service: ServicePlan) -> None:
        """A command is killed once it has become pointless."""
        now, holding = self.world.disturbances.now, self.holding(node, service)
        why = self._pointless(node, service, holding)
        holding.pointless_since = min(holding.pointless_since, now) if why else math.inf
        if now > holding.pointless_since + KILL_TIME:
            self._fail(node, service, why)

    def _pointless(self, node: Node, service: ServicePlan, holding: Holding) -> str:
        """Why one of its commands should not run any more, or empty."""
        running = holding.running & {"fence", "on_acquire"}
        if service.nearest or not (running and self._is_looking(node)):
            return ""
        for other in node.others:
            if has_address(other, service) and self._know_each_other(node, other):
                return f"{running} goes on, though {other.name} has it"
            if "fence" in running and other.name == holding.fencing and hears(node, other):
                return f"the fence of {other.name} goes on, though it is heard"
        return ""

    def _is_looking(self, node: Node) -> bool:
        """Whether its daemon can do with addresses what it wants."""
        return node.running and self.world.disturbances.holds(("addresses", node.name))

    def _check_witness(self, node: Node, service: ServicePlan) -> None:
        """Who has heard nobody for the hold time does not have it."""
        silence = self._silence(node, service)
        if silence > self.world.plan.hold_time + MARGIN and has_address(node, service):
            self._fail(node, service, f"it has heard nobody for {silence:.1f} s, and still has it")

    def _silence(self, node: Node, service: ServicePlan) -> float:
        """For how many seconds no message can have reached it, if it could act on that."""
        now, key = self.world.disturbances.now, (node.name, service.name)
        if not self._is_looking(node) or any(is_reached(node, other) for other in node.others):
            arrives = now + self.world.mesh.network.delay
            self._heard[key] = max(self._heard.get(key, arrives), arrives)
        return now - self._heard.get(key, now)

    def _check_both(self, a: Node, b: Node, service: ServicePlan) -> None:
        """Two nodes that hear each other do not both have it, but for a moment."""
        now, key = self.world.disturbances.now, (service.name, a.name, b.name)
        both = has_address(a, service) and has_address(b, service)
        if not both or not all(map(self._is_looking, (a, b))) or not self._know_each_other(a, b):
            self._both.pop(key, None)
            return
        since = self._both.setdefault(key, now)
        # one that has adopted the address keeps it until it knows its peers
        settled = max(node.started_at for node in (a, b)) + self.world.plan.hold_time
        allowed = LOOK_INTERVAL + MARGIN + 2 * self.world.mesh.network.delay
        if now > max(since, settled) + allowed:
            claims = [claim_of(node, service) for node in (a, b)]
            self._fail(a, service, f"{b.name} has it, too, for {now - since:.1f} s: {claims}")

    def _fail(self, node: Node, service: ServicePlan, why: str) -> None:
        self.world.fail(f"service {service.name} on {node.name}: {why}")


def _is_reloaded(node: Node, holding: Holding) -> bool:
    """Whether there was a reload since the last failure: that ends the back-off."""
    return node.server.reloaded_at >= holding.failed_at > -math.inf


def has_address(node: Node, service: ServicePlan) -> bool:
    """Whether the address is on *node*, whatever its daemon knows."""
    return node.kernel.has_address(service.prefix.address)


def claim_of(node: Node, service: ServicePlan) -> ServiceClaim | None:
    """What its daemon says of itself."""
    local = node.server.daemon.services.local
    return next((one.claim for one in local if one.config.name == service.name), None)


def _waits(node: Node, other: Node, service: ServicePlan) -> bool:
    """Whether *node* hears that *other* can take the address."""
    claims = node.server.daemon.node.claims(service.prefix.address)
    claim = claims.get(other.name) if hears(node, other) else None
    return claim is not None and claim.phase in (ServicePhase.STANDBY, ServicePhase.CLAIMING)


def hears(node: Node, other: Node) -> bool:
    """Whether *node* is in session with *other*, and messages of that reach it."""
    peer = node.server.daemon.peers.get(other.name) if node.running else None
    return peer is not None and peer.session.state == "up" and is_reached(node, other)


def is_reached(node: Node, other: Node) -> bool:
    """Whether messages of *other* reach *node*."""
    ends = other.server.address, node.server.address
    return node.running and other.running and node.world.mesh.network.passes(*ends)


def route_to(node: Node, prefix: Prefix) -> str | None:
    """Which node its RIB has as the best route to *prefix*."""
    best = node.server.daemon.node.rib.best(prefix)
    return None if best is None else best.node
