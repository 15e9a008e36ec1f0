"""Mistakes in the rules of services. The simulated meshes have to find each of them."""

from __future__ import annotations

from typing import Any

from cuberouted.service_claim import ServicePhase
from cuberouted.services import election, machine
from cuberouted.services.commands import Commands
from cuberouted.services.election import Sightings
from cuberouted.services.health import Health
from cuberouted.services.machine import ServiceMachine
from cuberouted.services.types import Program
from tests.unit.services.mesh import HEARTBEAT

UNFIT, RELEASING = ServicePhase.UNFIT, ServicePhase.RELEASING


def _returns(value):
    return lambda *_, **__: value


def _any_other(_own, _node, view):
    return next((name for name, claim in view.claims.items() if claim.phase.has_address), "")


def _forget_to_undo(self):
    if self._commands.running is not None:
        self._commands.kill()
        return
    self._abandoned = self._to_release = False
    self._move(UNFIT)


def _release_again(self, program, ok, why, now, ended=ServiceMachine.ended):
    ended(self, program, ok, why, now)
    if program is Program.ON_RELEASE:
        self._to_release = True


def _fence_succeeds(self, program, ok, why, now, ended=ServiceMachine.ended):
    ended(self, program, ok or program is Program.FENCE, why, now)


def _remove_first(self, view, hold=ServiceMachine._hold):
    hold(self, view)
    if self._phase is RELEASING:
        self._move(UNFIT)


def _no_witness_needed(self, view):
    return election.rightful(self.claim, self.node, view)


def _heard_later(view, last_heard=election.last_heard):
    return last_heard(view) + HEARTBEAT


REMOVE_FIRST = {
    **ServiceMachine._LOOKS,
    ServicePhase.HOLDING: _remove_first,
    ServicePhase.LAST_RESORT: _remove_first,
}

MUTANTS: dict[str, tuple[Any, ...]] = {
    "the own claim counts at once": (
        "calm without commands",
        (machine, "SETTLE_TIME", 0.0),
        (election, "SETTLE_TIME", 0.0),
    ),
    "an address that is released counts as vacant": (
        "calm",
        (election, "is_vacant", _returns(True)),
        (election, "occupant", _returns("")),
    ),
    "anybody takes a vacant address": (
        "calm without commands",
        (election, "is_first", _returns(True)),
    ),
    "of two that have it none gives way": ("no commands", (election, "rightful", _returns(""))),
    "of two that have it both give way": ("no commands", (election, "rightful", _any_other)),
    "who acquires it goes on when another has it": ("late", (election, "occupant", _returns(""))),
    "the holder ignores the witness": (
        "witness",
        (ServiceMachine, "_must_not", _no_witness_needed),
    ),
    "a witness counts for the hold time": (
        "strict witness",
        (election, "last_heard", _heard_later),
    ),
    "the own claim need not reach the others": (
        "early cut",
        (election, "is_known_to_all", _returns(True)),
    ),
    "lost peers need no time to give up": (
        "partitions",
        (ServiceMachine, "_have_lost_given_up", _returns(True)),
    ),
    "on_acquire is not undone": ("calm", (ServiceMachine, "_undo", _forget_to_undo)),
    "on_release is run again": ("calm", (ServiceMachine, "ended", _release_again)),
    "the address is removed before on_release": ("calm", (ServiceMachine, "_LOOKS", REMOVE_FIRST)),
    "the last resort gives it to nobody": (
        "calm",
        (Sightings, "has_successor", lambda _self, above, _now: above is None),
    ),
    "a higher priority is never claimed": ("calm", (ServiceMachine, "_claims", _returns(False))),
    "the unhealthy holder keeps it": ("calm", (ServiceMachine, "_should_not", _returns(""))),
    "an unfit node takes it": ("calm", (ServiceMachine, "_unfit", _returns(""))),
    "the check does not matter": ("calm", (Health, "problem", property(_returns("")))),
    "no back-off": ("calm", (Commands, "problem_at", _returns(""))),
    "an address at the start is not adopted": (
        "restarts",
        (ServiceMachine, "_adopt", _returns(None)),
    ),
    "a stop leaves the address": (
        "restarts",
        (ServiceMachine, "is_released", property(_returns(True))),
    ),
    "with nearest an unhealthy node keeps it": (
        "nearest",
        (ServiceMachine, "_has_successor", _returns(False)),
    ),
    "who was suspended acts before it has received": (
        "fence",
        (ServiceMachine, "_knows", lambda _self, view: election.is_known(view)),
    ),
    "nobody is fenced": ("fence", (ServiceMachine, "_next_to_fence", _returns(None))),
    "a failed fence is good enough": ("fence only", (ServiceMachine, "ended", _fence_succeeds)),
}
"""The theme that finds each, and what it replaces: object, attribute, value."""
