"""Random worlds of nodes that share a service, what happens to them, and what has to hold."""

from __future__ import annotations

import itertools
import random
from typing import Any

import attrs

from cuberouted.config.schema import Placement, ServiceConfig
from cuberouted.service_claim import ServicePhase
from cuberouted.services.types import Program
from tests.unit.services.mesh import HEARTBEAT, HOLD_TIME, MAX_DELAY, World

NODES = ("vpnsrvA", "vpnsrvB", "vpnsrvC", "vpnsrvD")
STEP = 1e-6
"""Rounding of times."""


@attrs.frozen
class Theme:
    """What kind of a world it is.

    ``is_strict``: never two nodes have the address, whoever hears whom. With a witness that holds
    as long as all daemons run, links are cut in both directions, and no peer is a witness now for
    the one and within hold_time for the other; with a fence always.
    ``is_orderly``: no peer is ever lost, so the address is never given up but by on_release.
    """

    faults: tuple[str, ...]
    config: dict[str, Any] = attrs.field(factory=dict)
    count: tuple[int, int] = (2, 4)
    is_strict: bool = False
    is_orderly: bool = False
    first_fault: tuple[float, float] = (0.0, 6.0)
    spacing: float = 0.0
    acquire_time: float = 0.0


CALM = ("health", "drain", "command_fails", "slow_command", "priority")
LIFE = ("kill", "start", "stop", "stop_keep", "power_off", "power_on")
MESH = ("partition", "heal")
ODD = ("pause", "unpause", "one_way", "remove_address", "add_address")
COMMANDS = {"on_acquire": ("/acquire",), "on_release": ("/release",)}

THEMES = {
    "all": Theme(CALM + LIFE + MESH + ODD, COMMANDS),
    "no commands": Theme(CALM + LIFE + MESH),
    "calm": Theme(CALM, COMMANDS, is_strict=True, is_orderly=True),
    "calm without commands": Theme(("health", "drain", "priority"), is_strict=True),
    "nearest": Theme(CALM + LIFE + MESH + ODD, {**COMMANDS, "placement": Placement.NEAREST}),
    "restarts": Theme(("kill", "start", "stop", "stop_keep"), COMMANDS),
    "witness": Theme(CALM + LIFE + MESH + ODD, {**COMMANDS, "witness": True}),
    "strict witness": Theme(
        ("drain", "slow_command", *MESH, *MESH),
        {**COMMANDS, "witness": True},
        (2, 3),
        is_strict=True,
        spacing=HOLD_TIME + 1.0,
    ),
    "early cut": Theme(
        MESH, {"witness": True}, (2, 3), True, first_fault=(1.9, 3.1), spacing=HOLD_TIME + 1.0
    ),
    "late": Theme(("drain", *MESH), COMMANDS, acquire_time=3.0),
    "partitions": Theme(MESH, {"witness": True}, (3, 3), True, spacing=HOLD_TIME + 1.0),
    "fence only": Theme(
        ("power_on", "power_on", "fence_fails", *MESH), {"fence": ("/fence",)}, (2, 3), True
    ),
    "fence": Theme(
        CALM + LIFE + MESH + ("pause", "unpause", "one_way"),
        {**COMMANDS, "fence": ("/fence",)},
        (2, 3),
        True,
    ),
}


class Run:
    """One world with its faults."""

    def __init__(self, theme, seed):
        self.theme = THEMES[theme]
        self.rng = rng = random.Random(f"{theme} {seed}")
        names = NODES[: rng.randint(*self.theme.count)]
        check = ("/check",) if rng.random() < 0.7 else ()
        preempt = rng.choice((None, None, 0.0, 2.0))
        configs = {
            name: ServiceConfig(
                name="db",
                address=bytes([10, 100, 100, 200]),
                check=check,
                check_interval=1.0,
                preempt=preempt,
                priority=rng.choice((100, 100, 200)),
                **self.theme.config,
            )
            for name in names
        }
        self.world = World(rng.random(), configs, rng.choice((0.02, MAX_DELAY)))
        self.nodes = list(self.world.nodes.values())
        for node in self.nodes:
            node.command_time[Program.ON_ACQUIRE] = self.theme.acquire_time
        self.invariants = Invariants(self.world, self.theme)
        self.faults = 0
        self.acquired_before_quiet = 0

    def go(self, faults=25):
        """Run it. Raises AssertionError, with the last events of the world."""
        try:
            self._go(faults)
        except AssertionError as error:
            raise AssertionError("\n".join([*self.world.trace, str(error)])) from error

    def _go(self, faults):
        for node in self.nodes:
            if self.rng.random() < 0.9:
                self.world.at(self.world.now + self.rng.choice((0.0, 0.0, 4.0)), node.start)
        self.world.check = self.invariants.check
        self.world.run(self.rng.uniform(*self.theme.first_fault))
        for _ in range(self.rng.randint(1, 4)):
            for _ in range(self.rng.randint(1, faults // 3)):
                self._fault(self.rng.choice(self.theme.faults))
                self.world.run(self.theme.spacing)
                self.world.run(self.rng.choice((0.0, 0.3, 2.0, 8.0)) * self.rng.random())
            self._quiet()

    def _fault(self, name):
        self.faults += 1
        node = self.rng.choice(self.nodes)
        self.world.log(node.name, f"fault {name}")
        getattr(self, "_" + name)(node)

    # -- faults --

    def _kill(self, node):
        if node.machine is not None:
            node.kill()

    def _start(self, node):
        node.start()

    def _stop(self, node):
        node.stop()

    def _stop_keep(self, node):
        node.stop_keep()
        if self.rng.random() < 0.8:
            self.world.at(self.world.now + self.rng.random(), node.start)

    def _power_off(self, node):
        node.power_off()

    def _power_on(self, node):
        node.power_on()

    def _partition(self, _node):
        side = {node.name for node in self.nodes if self.rng.random() < 0.5}
        for a, b in self.world.links:
            if (a in side) != (b in side):
                self.world.cut(a, b)
            else:
                self.world.heal(a, b)

    def _heal(self, _node):
        for a, b in self.world.links:
            self.world.heal(a, b)

    def _one_way(self, node):
        self.world.cut(node.name, self.rng.choice(node.others))

    def _pause(self, node):
        node.pause()

    def _unpause(self, node):
        node.unpause()

    def _remove_address(self, node):
        node.address = False

    def _add_address(self, node):
        node.address = node.powered

    def _health(self, node):
        node.well = not node.well

    def _drain(self, node):
        node.available = not node.available
        node.look()

    def _command_fails(self, node):
        node.command_fails ^= {self.rng.choice(list(Program))}

    def _fence_fails(self, node):
        node.command_fails ^= {Program.FENCE}

    def _slow_command(self, node):
        node.command_time[self.rng.choice(list(Program))] = self.rng.choice((0.0, 0.1, 1.0, 3.0))

    def _priority(self, node):
        if node.is_paused:
            return
        node.config = attrs.evolve(node.config, priority=self.rng.choice((100, 150, 200)))
        if node.runs:
            node.failed_at.clear()  # a reload ends the back-off
            node.machine.reconfigure(node.config, self.world.now)
            node.look()

    # -- quiet --

    def _quiet(self):
        """Nothing happens for a while; then exactly one node has the address."""
        for (a, b), link in self.world.links.items():
            if link.is_cut != self.world.links[b, a].is_cut:
                self.world.heal(a, b)
                self.world.heal(b, a)
        for node in self.nodes:
            node.unpause()
            node.command_fails = set()
        self.world.log("", "quiet")
        before = {name: node.address for name, node in self.world.nodes.items()}
        back_offs = (node.machine._commands.retry_at for node in self.nodes if node.machine)
        self.world.run(max([0.0, *(time - self.world.now for time in back_offs)]) + 30.0)
        self.invariants.check_parts(before)
        acquired = sum(node.acquired for node in self.nodes)
        self.world.run(20.0)
        assert acquired == sum(node.acquired for node in self.nodes), "moves without a fault"
        for a, b in self.world.links:
            self.world.heal(a, b)
        was_held = any(node.runs and node.address for node in self.nodes)
        self.world.run(20.0)
        self.invariants.check_parts({})
        moved = sum(node.acquired for node in self.nodes) - acquired
        # who was alone may come first now; and which one has it is no matter with `nearest`
        may_move = "witness" in self.theme.config or self.invariants.is_nearest
        assert may_move or not (moved and was_held), "a heal gives the address to a node without it"
        holders = len(self.nodes) if self.invariants.is_nearest else 2
        assert acquired <= holders + self.faults, f"{acquired} moves by {self.faults} faults"


@attrs.define
class Invariants:
    """What has to hold at any time, and at quiet times."""

    world: World
    theme: Theme
    _both_since: dict[tuple[str, str], float] = attrs.field(factory=dict, init=False)
    _was_held: bool = attrs.field(default=False, init=False)

    def check(self):
        self._was_held |= any(node.address for node in self.world.nodes.values())
        for node in self.world.nodes.values():
            if node.runs:
                self._check_witness(node)
                self._check_release(node)
        if not self.is_nearest:
            self._check_pairs()

    @property
    def is_nearest(self):
        return self.theme.config.get("placement") is Placement.NEAREST

    def _check_release(self, node):
        if self.theme.is_orderly and node.running is Program.ON_RELEASE:
            phase = node.machine.claim.phase
            assert phase.is_occupied, f"{node.name} is {phase} while on_release runs"

    def _check_witness(self, node):
        if not node.config.witness or not node.machine.claim.phase.has_address:
            return
        heard = [peer.last_heard for peer in node.peers.values() if not peer.gone]
        last = max([*heard, node._start_time])
        silence = self.world.now - last
        assert silence <= HOLD_TIME - HEARTBEAT + STEP, f"{node.name} has it without a witness"

    def _check_pairs(self):
        having = [
            name
            for name, node in self.world.nodes.items()
            if node.address and node.machine is not None and node.machine.claim.phase.has_address
        ]
        if self.theme.is_strict:
            assert len(having) < 2, f"{having} have the address"
        acquiring = [
            name
            for name, node in self.world.nodes.items()
            if node.runs and node.running is Program.ON_ACQUIRE and not node.is_killing
        ]
        pairs = (*itertools.combinations(having, 2), *itertools.product(having, acquiring))
        both = {pair for pair in pairs if self.world.hear_each_other(*pair)}
        self._both_since = {pair: self._both_since.get(pair, self.world.now) for pair in both}
        for pair, since in self._both_since.items():
            late = self.world.now - since > self.world.max_delay + STEP
            assert not late, f"{pair} have or acquire the address since {since:.3f}"

    def check_parts(self, before):
        for part in self.world.parts():
            self._check_part([self.world.nodes[name] for name in sorted(part)], before)
        for node in self.world.nodes.values():
            if node.runs:
                has = node.machine.claim.phase.has_address
                assert node.address == has, f"{node.name}: address {node.address}, claim {has}"
                no_role = not node.config.on_acquire
                assert no_role or node.role == has, f"{node.name}: role {node.role}, claim {has}"

    def _check_part(self, part, before):
        names = [node.name for node in part]
        able = [node for node in part if self._is_able(node, part)]
        having = [node for node in part if node.address]
        if self.is_nearest:
            had = any(before.get(name) for name in names)
            assert having == able if able else having or not had, f"{names}: of {len(having)}"
            return
        assert len(having) <= 1, f"{[n.name for n in having]} of {names} have the address"
        if able:
            assert having, f"nobody of {names} has the address"
            holder = having[0]
            assert holder in able, f"{holder.name} has the address and may not"
            assert holder.machine.claim.phase is ServicePhase.HOLDING
            best = max(node.config.priority for node in able)
            if holder.config.preempt is not None:
                assert holder.config.priority == best, f"{holder.name} was not preempted"
        elif self._must_be_held(names, before) and not part[0].config.witness:
            assert having, f"the last holder of {names} has given it up"

    def _must_be_held(self, names, before):
        """Whether somebody keeps it though nobody is able. It is lost with its holder only."""
        is_kept = self.theme.is_orderly and self._was_held
        return is_kept or any(before.get(name) for name in names)

    def _is_able(self, node, part):
        well = node.well or not node.config.check
        return well and node.available and (len(part) > 1 or not node.config.witness)
