"""Several nodes that share one service: their machines, messages with delays, and faults.

A discrete simulation of one world for each seed. The nodes' daemons are modelled as far as the
machines notice: sessions between peers with hold timers and a resynchronisation, commands that take
time, addresses that stay on the interface of a killed daemon.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from typing import Any

import attrs

from cuberouted.service_claim import ServiceClaim
from cuberouted.services.commands import MIN_BACK_OFF
from cuberouted.services.machine import ServiceMachine
from cuberouted.services.types import PeerView, Program, View

HEARTBEAT, HOLD_TIME, MAX_DELAY = 1.0, 3.0, 0.2
KILL_TIME = 0.05
"""Seconds until a killed command has ended."""


@attrs.define
class Link:
    """Messages from one node to another, in order. ``backlog``: sent during the present cut."""

    is_cut: bool = False
    cut_since: float = 0.0
    last_arrival: float = 0.0
    backlog: list[Any] = attrs.field(factory=list)


@attrs.define
class Session:
    """What a node knows of a peer. ``run``: which daemon of that peer it is."""

    last_heard: float = -math.inf
    heard: bool = False
    pending: bool = False
    gone: bool = False
    run: int = 0
    nonce: int = 0
    asked: float = -math.inf
    claim: ServiceClaim | None = None

    def reset(self):
        self.heard = self.pending = False
        self.claim = None


class World:
    """All nodes, and the time. ``check`` is called after each event."""

    def __init__(self, seed, configs, max_delay=MAX_DELAY):
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.max_delay = max_delay
        self.trace: deque[str] = deque(maxlen=400)
        self._queue = []
        self._numbers = itertools.count(1)
        self.links = {(a, b): Link() for a in configs for b in configs if a != b}
        self.nodes = {name: Node(self, name, config) for name, config in configs.items()}
        self.check = lambda: None

    def log(self, node, text):
        self.trace.append(f"{self.now:9.3f} {node:8} {text}")

    def number(self):
        return next(self._numbers)

    def at(self, time, call, *args):
        heapq.heappush(self._queue, (max(time, self.now), self.number(), call, args))

    def run(self, seconds):
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, call, args = heapq.heappop(self._queue)
            call(*args)
            self.check()
        self.now = end

    # -- messages --

    def send(self, source, target, message):
        link = self.links[source, target]
        if link.is_cut:
            link.backlog.append(message)
            return
        delay = self.rng.uniform(0.001, self.max_delay)
        link.last_arrival = max(link.last_arrival, self.now + delay)
        self.at(link.last_arrival, self._arrive, source, target, message)

    def _arrive(self, source, target, message):
        link = self.links[source, target]
        if link.is_cut:
            link.backlog.append(message)
        else:
            self.nodes[target].receive(source, message)

    def cut(self, source, target):
        link = self.links[source, target]
        if not link.is_cut:
            link.is_cut, link.cut_since = True, self.now

    def heal(self, source, target):
        """Let messages through. TCP delivers those of a short cut."""
        link = self.links[source, target]
        if not link.is_cut:
            return
        backlog, link.backlog, link.is_cut = link.backlog, [], False
        if self.now - link.cut_since < HOLD_TIME:
            for message in backlog:
                self.send(source, target, message)

    def parts(self):
        """The nodes with a daemon that runs, by who can reach whom in both directions."""
        left = {name for name, node in self.nodes.items() if node.runs}
        parts = []
        while left:
            part, border = set(), {min(left)}
            while border:
                part |= border
                border = {b for b in left - part for a in border if self.are_linked(a, b)}
            parts.append(part)
            left -= part
        return parts

    def are_linked(self, a, b):
        return not self.links[a, b].is_cut and not self.links[b, a].is_cut

    def hear_each_other(self, a, b):
        first, second = self.nodes[a], self.nodes[b]
        both = first.runs and second.runs and self.are_linked(a, b)
        return both and first.peers[b].heard and second.peers[a].heard


class Node:
    """A host with or without power and daemon.

    ``well``: whether its check succeeds. ``command_fails``, ``command_time``: of the programs.
    """

    def __init__(self, world, name, config):
        self.world, self.name, self.config = world, name, config
        self.powered, self.well, self.available = True, True, True
        self.machine: Any = None
        self.address = False
        self.role = False  # on_acquire was started, and on_release has not ended since
        self.run = 0
        self.paused = []
        self.is_paused = False
        self.unpaused_at = -math.inf
        self.peers = {}
        self.command_fails = set()
        self.command_time = dict.fromkeys(Program, 0.0)
        self.acquired = 0  # how often it got the address
        self.failed_at = {}
        self._were_up = set()
        self._start_time = 0.0
        self._sent = None
        self._command = 0
        self._running: Any = None
        self._killed = False
        self._timer = 0

    @property
    def runs(self):
        return self.machine is not None and not self.is_paused

    @property
    def running(self):
        """The program that runs, or None."""
        return self._running.program if self._command else None

    @property
    def is_killing(self):
        return self._killed

    @property
    def others(self):
        return [name for name in self.world.nodes if name != self.name]

    # -- life --

    def start(self):
        if self.machine is not None or not self.powered:
            return
        world = self.world
        world.log(self.name, f"starts, address {self.address}")
        self.run = world.number()
        self.peers = {name: Session() for name in self.others}
        self._were_up, self._start_time, self._sent = set(), world.now, None
        self._command, self.failed_at = 0, {}
        self.role = self.address
        self.machine = ServiceMachine(self.config, self.name, lambda: 1.8e9 + world.now, world.now)
        self._beat(self.run)
        world.at(world.now + HOLD_TIME, self._look_of, self.run)
        self.look()
        self._check_health(self.run)

    def kill(self):
        """The daemon ends without a word; commands end with it."""
        self.world.log(self.name, "killed")
        self.machine, self.run, self._command = None, 0, 0
        self.is_paused, self.paused = False, []

    def stop(self):
        """The daemon is stopped in order, on_exit = withdraw."""
        if self.runs:
            self.world.log(self.name, "stop")
            self.machine.stop(self.world.now)
            self.look()

    def stop_keep(self):
        """The daemon is stopped in order, on_exit = keep."""
        if self.runs:
            self.world.log(self.name, "stop, keep")
            self.kill()

    def power_off(self):
        self.world.log(self.name, "no power")
        self.kill()
        self.powered = self.address = self.role = False

    def power_on(self):
        self.powered = True
        self.start()

    def pause(self):
        if self.runs:
            self.world.log(self.name, "paused")
            self.is_paused = True

    def unpause(self):
        if self.is_paused:
            self.world.log(self.name, "goes on")
            self.is_paused, self.unpaused_at = False, self.world.now
            inbox, self.paused = self.paused, []
            if self.world.rng.random() < 0.5:  # a timer may come before what was received
                self.look()
            for call, args in inbox:
                call(*args)
            self.look()

    def _alive(self, run, call, *args):
        """Whether daemon *run* can do something now; it does it after its pause."""
        if run != self.run or self.machine is None:
            return False
        if self.is_paused:
            self.paused.append((call, args))
            return False
        return True

    # -- sessions --

    def _beat(self, run):
        if not self._alive(run, self._beat, run):
            return
        for name in self.others:
            self.world.send(self.name, name, (self.run, "beat", 0, self._sent))
        self.world.at(self.world.now + HEARTBEAT, self._beat, run)

    def receive(self, source, message):
        if not self._alive(self.run, self.receive, source, message):
            return
        peer = self.peers[source]
        run, what, nonce, claim = message
        if run < peer.run:
            return
        peer.last_heard = self.world.now
        if run != peer.run:
            peer.reset()
            peer.run, peer.gone, peer.asked = run, False, -math.inf
        if what == "bye":
            peer.reset()
            peer.gone = True
        elif what == "ask":
            self.world.send(self.name, source, (self.run, "state", nonce, self._sent))
        if not peer.gone and not peer.heard:
            self._synchronise(source, peer, what, nonce, claim)
        elif peer.heard and what == "beat":
            peer.claim = claim
        self.world.at(self.world.now + HOLD_TIME, self._look_of, self.run)
        self.look()

    def _synchronise(self, source, peer, what, nonce, claim):
        if what == "state" and peer.pending and nonce == peer.nonce:
            peer.heard, peer.pending, peer.claim = True, False, claim
            self._were_up.add(source)
        elif not peer.pending or self.world.now > peer.asked + 1.0:
            peer.pending, peer.nonce, peer.asked = True, self.world.number(), self.world.now
            self.world.send(self.name, source, (self.run, "ask", peer.nonce, None))

    def _expire(self):
        for name, peer in self.peers.items():
            lost = self.world.now >= peer.last_heard + HOLD_TIME
            if lost and (peer.heard or peer.pending):
                self.world.log(self.name, f"loses {name}")
                peer.reset()

    # -- the service --

    def view(self):
        peers = tuple(
            PeerView(name, p.heard, p.pending, p.last_heard, p.gone)
            for name, p in self.peers.items()
        )
        late = self.world.now >= self._start_time + HOLD_TIME
        return View(
            witness_time=HOLD_TIME - HEARTBEAT,
            claims={name: p.claim for name, p in self.peers.items() if p.claim is not None},
            peers=peers,
            settled=late or len(self._were_up) == len(self.peers),
            available=self.available,
            has_address=self.address,
        )

    def _look_of(self, run):
        if self._alive(run, self._look_of, run):
            self.look()

    def look(self):
        if not self.runs:
            return
        self._expire()
        machine, now = self.machine, self.world.now
        before = machine.claim.phase
        actions = machine.receive(self.view(), now)
        if actions.claim.phase is not before:
            why = f" ({actions.claim.why})" if actions.claim.why else ""
            self.world.log(self.name, f"{before.value} -> {actions.claim.phase.value}{why}")
        self.acquired += actions.address and not self.address
        self.address = actions.address
        if actions.claim != self._sent:
            self._sent = actions.claim
            for name in self.others:
                self.world.send(self.name, name, (self.run, "beat", 0, self._sent))
        if actions.run is not None:
            self._run(actions.run)
        if actions.kill:
            self._kill()
        self._timer = timer = self.world.number()
        self.world.at(machine.deadline, self._timer_passed, self.run, timer)
        if machine._stopping and machine.is_released:
            assert not self.address, f"{self.name} ends with the address"
            released = not (self.role and self.config.on_release)
            assert released, f"{self.name} ends without on_release"
            for name in self.others:
                self.world.send(self.name, name, (self.run, "bye", 0, None))
            self.kill()

    def _timer_passed(self, run, timer):
        if timer == self._timer and self._alive(run, self._look_of, run):
            self.look()

    def _run(self, run):
        assert not self._command, "a command is started while another one runs"
        self.world.log(self.name, f"runs {run.program} {run.peer}")
        failed = self.failed_at.get(run.program, -math.inf)
        assert self.world.now >= failed + MIN_BACK_OFF, f"{run.program} is tried again at once"
        awake = self.world.now - self.unpaused_at
        assert run.program is not Program.FENCE or awake > self.world.max_delay, "fences at once"
        if run.program is Program.ON_ACQUIRE:
            assert not self.role, "on_acquire without on_release before"
            self.role = True
        if run.program is Program.ON_RELEASE:
            assert self.role, "on_release without on_acquire before"
        self._command, self._killed = self.world.number(), False
        end = self.world.now + self.command_time[run.program]
        self.world.at(end, self._command_ended, self.run, self._command, run)
        self._running = run

    def _kill(self):
        assert self._command, "no command to kill"
        assert not self._killed, "a command is killed twice"
        assert self._running.program is not Program.ON_RELEASE, "on_release is killed"
        self._killed = True
        end = self.world.now + KILL_TIME
        self.world.at(end, self._command_ended, self.run, self._command, self._running)

    def _command_ended(self, daemon, command, run):
        if command != self._command:
            return
        if not self._alive(daemon, self._command_ended, daemon, command, run):
            return
        ok = not self._killed and run.program not in self.command_fails
        if run.program is Program.FENCE and ok and self.world.nodes[run.peer].powered:
            self.world.log(self.name, f"has fenced {run.peer}")
            self.world.nodes[run.peer].power_off()
        if run.program is Program.ON_RELEASE:
            self.role = False
        if not ok and not self._killed:
            self.failed_at[run.program] = self.world.now
        self._command = 0
        self.machine.ended(run.program, ok, "" if ok else "exit status 1", self.world.now)
        self.look()

    def _check_health(self, run):
        """Start the check once it is due."""
        if self._alive(run, self._check_health, run) and self.machine.check_due < math.inf:
            due = self.machine.check_due
            self.world.at(due + self.world.rng.uniform(0.0, 0.3), self._checked, run)

    def _checked(self, run):
        if self._alive(run, self._checked, run):
            self.machine.ended(Program.CHECK, self.well, "exit status 1", self.world.now)
            self.look()
            self._check_health(run)
