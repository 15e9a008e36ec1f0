"""The decision of one node about one shared service address: whether it has it. Pure.

`ServiceMachine.receive` looks at everything and moves to the phase that follows from it, so that an
input that was missed only delays a move until the next look. See `ServicePhase` for the phases.

A holder gives the address only to a node that takes it at once: one that has claimed it, or stood
by, for SETTLE_TIME. So a node is UNFIT, not on STANDBY, until its view is settled. If nobody got
the address all the same, and nobody can any more, because that node has become unfit meanwhile or
its commands have failed, the node that gave it last takes it back.

A node takes a vacant address once every peer that it hears has sent something since its own claim
has stood for SETTLE_TIME: a peer that was cut off a moment ago does not know the claim. With a
witness, a peer that was lost gets SETTLE_TIME more to notice that it has none; and after this node
was alone itself, as long as its new witness may have been that of the other. Not covered: a peer
that hears two nodes which do not hear each other is a witness for both.

on_release is run for each on_acquire that was started, also if that failed or was killed, and for
an address that was found at the start. The phase remains ACQUIRING meanwhile; after the address had
to be removed at once it is UNFIT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

import attrs

from cuberouted.config.schema import Placement, ServiceConfig
from cuberouted.events import Event, ServiceChecked
from cuberouted.model import printable
from cuberouted.service_claim import ServiceClaim, ServicePhase
from cuberouted.services import election
from cuberouted.services.commands import Commands
from cuberouted.services.election import SETTLE_TIME, Sightings
from cuberouted.services.health import Health
from cuberouted.services.types import PeerView, Program, Run, ServiceActions, View
from cuberouted.services.witness import Witness

LOOK_INTERVAL, SHORT_LOOK_INTERVAL = 1.0, 0.1
"""Seconds between two looks at most, for whatever was missed; and while only a message of a peer
is awaited until the address is taken."""

MAX_LATENESS = 0.1
"""Seconds that a look may come after `ServiceMachine.deadline`. Later: the daemon was suspended."""

MAX_WHY = 200
"""Characters of a claim's ``why``."""

STOPPING, NO_WITNESS = "the daemon is being stopped", "no peer is heard"

UNFIT, STANDBY, CLAIMING = ServicePhase.UNFIT, ServicePhase.STANDBY, ServicePhase.CLAIMING
ACQUIRING, HOLDING, ADOPTED = ServicePhase.ACQUIRING, ServicePhase.HOLDING, ServicePhase.ADOPTED
LAST_RESORT, RELEASING = ServicePhase.LAST_RESORT, ServicePhase.RELEASING


@attrs.define
class ServiceMachine:
    """One service on this node. Times are monotonic seconds, ``wall_clock`` returns Unix seconds.

    The address of the service is the same for the machine's whole life.
    """

    config: ServiceConfig
    node: str
    wall_clock: Callable[[], float]
    now: float
    _phase: ServicePhase = attrs.field(default=UNFIT, init=False)
    _phase_since: float = attrs.field(init=False)
    _why: str = attrs.field(default="not started yet", init=False)
    _held_since: int = attrs.field(default=0, init=False)
    _view: View | None = attrs.field(default=None, init=False)
    _adopted: bool = attrs.field(default=False, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    # on_release has to be run
    _to_release: bool = attrs.field(default=False, init=False)
    # the address was given to another node, and none has it since
    _gave_it_last: bool = attrs.field(default=False, init=False)
    # what ACQUIRING has begun is to be undone
    _abandoned: bool = attrs.field(default=False, init=False)
    # since when the claim is STANDBY or CLAIMING, with this priority
    _electable_since: float = attrs.field(default=math.inf, init=False)
    # only a message of a peer is awaited until the address is taken
    _is_next: bool = attrs.field(default=False, init=False)
    # since when this daemon has not been suspended
    _awake_since: float = attrs.field(default=-math.inf, init=False)
    # since when this node may take the address back by its priority
    _outranks_since: float = attrs.field(default=math.inf, init=False)
    # when the peers that were fenced had been heard
    _fenced: dict[str, float] = attrs.field(factory=dict, init=False)
    _events: list[Event] = attrs.field(factory=list, init=False)
    _health: Health = attrs.field(init=False)
    _commands: Commands = attrs.field(init=False)
    _witness: Witness = attrs.field(init=False)
    _sightings: Sightings = attrs.field(factory=Sightings, init=False)

    def __attrs_post_init__(self) -> None:
        """Start to check now."""
        self._phase_since = self.now
        self._witness = Witness(self.now)
        self._health = Health.of(self.config, self.now)
        self._commands = Commands(self.config.name, self._events.append)

    # -- queries --

    @property
    def claim(self) -> ServiceClaim:
        """What to advertise."""
        return ServiceClaim(
            self._phase,
            self.config.priority,
            self._held_since,
            self._is_nearest,
            printable(self._why)[:MAX_WHY],
        )

    @property
    def deadline(self) -> float:
        """When `receive` is due if nothing happens before. Checks have their own `check_due`."""
        times = (
            self._phase_since + SETTLE_TIME,
            self._awake_since + SETTLE_TIME,
            self._outranks_since + (self.config.preempt or 0.0),
            self._commands.retry_at,
            self._witness.until,
            self._witness.settled,
            self._sightings.next_settled(self.now),
        )
        interval = SHORT_LOOK_INTERVAL if self._is_next else LOOK_INTERVAL
        return min([self.now + interval, *(time for time in times if time > self.now)])

    @property
    def check_due(self) -> float:
        """When the next check has to be started, ``inf`` without one.

        It stays as it is while a check runs, until `ended`.
        """
        return self._health.due

    @property
    def is_healthy(self) -> bool:
        """Whether the check succeeds, or there is none."""
        return bool(self._health.healthy)

    @property
    def last_checked(self) -> float | None:
        """When the last check ended, or None."""
        return self._health.last_checked

    @property
    def is_released(self) -> bool:
        """Whether this node neither has the address nor runs a command because of it."""
        commands = self._to_release or self._commands.running is not None
        return not self._phase.is_occupied and not commands

    # -- inputs --

    def ended(self, program: Program, ok: bool, why: str, now: float) -> None:
        """A command has ended. *why*: a clause about its failure.

        Raises:
          ValueError: it did not run.
        """
        if program is Program.CHECK:
            if self._health.ended(self.config, ok, why, now):
                checked = ServiceChecked(service=self.config.name, healthy=ok, why=why)
                self._events.append(checked)
            return
        run, failed = self._commands.ended(program, ok, why, now)
        if program is Program.ON_RELEASE:
            self._to_release = False
        elif failed:
            self._abandoned = True
        if not ok:
            self._fenced.pop(run.peer, None)

    def stop(self, now: float) -> None:
        """Give the address up in order. Then `receive` until `is_released`."""
        self.now, self._stopping = now, True

    def reconfigure(self, config: ServiceConfig, now: float) -> None:
        """Apply a configuration, the same or another one of the same service and address."""
        old, self.config, self.now = self.config, config, now
        self._commands.forget_failures()
        if config.check != old.check:
            healthy = self.is_healthy
            self._health = Health.of(config, now)
            if healthy:
                self._health.adopt()
        if config.priority != old.priority:
            self._phase_since = self._electable_since = now

    def receive(self, view: View, now: float) -> ServiceActions:
        """Look at everything, and return what to do."""
        is_start = self._view is None
        if not is_start and now > self.deadline + MAX_LATENESS:
            self._awake_since = now
        self._view, self.now = view, now
        self._sightings.update(view, now)
        if is_start and view.has_address:
            self._adopt()
        self._witness.update(self.config, view, now, is_adopted=self._adopted)
        for _ in ServicePhase:  # one move may allow the next
            phase = self._phase
            self._LOOKS[phase](self, view)
            if self._phase is phase:
                break
        run, kill = self._commands.pop()
        events = tuple(self._events)
        self._events.clear()
        return ServiceActions(self._phase.has_address, self.claim, run, kill, events)

    # -- what follows from the view, by phase --

    def _adopt(self) -> None:
        self._health.adopt()
        self._adopted = self._to_release = True
        self._move(ADOPTED)

    def _wait(self, view: View) -> None:
        """UNFIT, STANDBY and CLAIMING: the node does not have the address."""
        self._release()
        if self._to_release:
            return
        self._gave_it_last = self._gave_it_last and not election.is_elsewhere(view)
        unfit, self._is_next = self._unfit(view), False
        if unfit:
            self._outranks_since = math.inf
            self._move(UNFIT, unfit)
            if self._may_take_it_back(view):
                self._move(ACQUIRING)
            return
        self._move(CLAIMING if self._claims(view) else STANDBY)
        if self._may_acquire(view):
            self._is_next, self._outranks_since = False, math.inf
            self._move(ACQUIRING)

    def _acquire(self, view: View) -> None:
        running = self._commands.running
        if self._is_abandoned(view):
            self._undo()
        elif running is not None:
            if running.program is Program.FENCE and running.peer not in election.lost_peers(view):
                self._commands.kill()  # it came back by itself
        elif not (self._is_nearest or self._knows(view)):
            return  # a peer that has just come back may have it
        elif (peer := self._next_to_fence(view)) is not None:
            self._fenced[peer.name] = peer.last_heard
            self._commands.start(Run(Program.FENCE, peer.name))
        elif self.config.on_acquire and not self._to_release:
            self._to_release = True
            self._commands.start(Run(Program.ON_ACQUIRE))
        else:
            self._to_release = True
            self._commands.forget_failures()
            self._gave_it_last = False
            self._move(HOLDING)

    def _undo(self) -> None:
        running = self._commands.running
        if running is not None and running.program is not Program.ON_RELEASE:
            self._commands.kill()
            return
        self._release()
        if not self._to_release:
            self._abandoned = False
            self._move(UNFIT)

    def _hold(self, view: View) -> None:
        """HOLDING, ADOPTED and LAST_RESORT: the node has the address."""
        taken = self._must_not(view)
        if taken:
            self._move(UNFIT, taken)
            return
        self._adopted = self._adopted and not view.settled
        why = self._should_not(view)
        if self._stopping or self._has_successor(view, why):
            self._move(RELEASING, why)
        elif why:
            self._move(LAST_RESORT, why)
        else:
            self._move(ADOPTED if self._adopted else HOLDING)

    def _give_up(self, view: View) -> None:
        taken = self._must_not(view)
        if taken:
            self._move(UNFIT, taken)
            return
        self._release()
        if not self._to_release:
            self._gave_it_last = not self._stopping
            self._move(UNFIT)

    def _release(self) -> None:
        """Run on_release if it has to be run."""
        if self._to_release and self._commands.running is None:
            if self.config.on_release:
                self._commands.start(Run(Program.ON_RELEASE))
            else:
                self._to_release = False

    def _move(self, phase: ServicePhase, why: str = "") -> None:
        if phase is not self._phase:
            self._phase_since = self.now
        is_electable = phase in (STANDBY, CLAIMING)
        self._electable_since = min(self._electable_since, self.now) if is_electable else math.inf
        if not phase.has_address:
            self._held_since, self._adopted = 0, False
        elif not self._phase.has_address:
            self._held_since = int(self.wall_clock() * 1_000_000)
        self._phase, self._why = phase, why

    # -- conditions --

    @property
    def _is_nearest(self) -> bool:
        return self.config.placement is Placement.NEAREST

    def _should_not(self, view: View) -> str:
        """Why another node should have the address, or empty."""
        if self._stopping:
            return STOPPING
        if not view.available:
            return "the node is draining or in maintenance"
        return self._health.problem

    def _must_not(self, view: View) -> str:
        """Why this node, which has the address, has to remove it at once; or empty."""
        if view.address_error and not view.has_address:
            return view.address_error
        if self.now >= self._witness.until:
            return NO_WITNESS
        other = "" if self._is_nearest else election.rightful(self.claim, self.node, view)
        return f"{other} has the address" if other else ""

    def _unfit(self, view: View) -> str:
        """Why this node may not get the address, or empty."""
        return self._should_not(view) or self._cannot(view)

    def _cannot(self, view: View) -> str:
        """Why this node may not even get it as the last resort, or empty."""
        why = self._commands.problem_at(self.now) or view.address_error
        if self._stopping:
            why = STOPPING
        elif not why and self.now >= self._witness.until:
            why = NO_WITNESS
        elif not why and not view.settled and not self._is_nearest:
            why = "the peers are not known yet"
        return why

    def _may_take_it_back(self, view: View) -> bool:
        """Whether this node gave the address to one that cannot have it any more, nor any other."""
        return (
            self._gave_it_last
            and self.now >= self._phase_since + SETTLE_TIME
            and not self._cannot(view)
            and self._knows(view)
            and not election.is_anybody_electable(view)
            and self._have_lost_given_up()
        )

    def _claims(self, view: View) -> bool:
        """Whether this node, on standby, takes the address back from a lower priority.

        Not while it cannot: the holder would give the address up for each attempt.
        """
        preempt, priority = self.config.preempt, self.config.priority
        if preempt is None or self._is_nearest or self._commands.cannot_acquire:
            self._outranks_since = math.inf
            return False
        if self._phase is CLAIMING:
            return not election.is_blocked(priority, view)
        if not election.is_outranked(priority, view):
            self._outranks_since = math.inf
            return False
        self._outranks_since = min(self._outranks_since, self.now)
        is_due = self.now >= self._outranks_since + preempt
        return is_due and election.is_known_to_all(self._electable_since, view)

    def _knows(self, view: View) -> bool:
        """Whether all is known of the other nodes. What they sent while this daemon was suspended
        may not be received yet, while their hold timers have passed.
        """
        is_awake = self.now >= self._awake_since + SETTLE_TIME
        return election.is_known(view) and is_awake and self._sightings.are_settled(self.now)

    def _may_acquire(self, view: View) -> bool:
        if self._is_nearest:
            return True
        self._is_next = (
            self.now >= self._phase_since + SETTLE_TIME
            and self._knows(view)
            and election.is_vacant(view)
            and election.is_first(self.claim, self.node, view)
            and self._have_lost_given_up()
        )
        return self._is_next and election.is_known_to_all(self._electable_since, view)

    def _have_lost_given_up(self) -> bool:
        """Whether each peer that is lost has noticed by now that it has no witness."""
        lost = self._sightings.last_loss
        if not self.config.witness or lost == -math.inf:
            return True
        return self.now >= lost + SETTLE_TIME and self.now >= self._witness.settled

    def _is_abandoned(self, view: View) -> bool:
        """Whether the node stops to acquire the address."""
        if not self._abandoned:
            other = "" if self._is_nearest else election.occupant(self.claim, self.node, view)
            takes_back = self._gave_it_last and not election.is_anybody_electable(view)
            self._abandoned = bool(other or (self._cannot if takes_back else self._unfit)(view))
        return self._abandoned

    def _has_successor(self, view: View, why: str) -> bool:
        """Whether the address is given to another node. *why*: `_should_not`."""
        if self._is_nearest:
            # by then all know who else is not well, and one that has it and was lost is not heard
            waits = self._phase is LAST_RESORT
            is_known = waits and election.is_known_to_all(self._phase_since, view)
            return bool(why) and is_known and election.is_held(view)
        above = None if why else self.config.priority
        return self._sightings.has_successor(above, self.now)

    def _next_to_fence(self, view: View) -> PeerView | None:
        if not self.config.fence or self._is_nearest:
            return None
        return election.next_to_fence(view, self._fenced)

    _LOOKS: ClassVar[Mapping[ServicePhase, Callable[[ServiceMachine, View], None]]] = (
        MappingProxyType(
            {
                UNFIT: _wait,
                STANDBY: _wait,
                CLAIMING: _wait,
                ACQUIRING: _acquire,
                HOLDING: _hold,
                ADOPTED: _hold,
                LAST_RESORT: _hold,
                RELEASING: _give_up,
            }
        )
    )
