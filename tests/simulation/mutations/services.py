"""Deliberate mistakes about shared service addresses and maintenance."""

from __future__ import annotations

import math
from typing import Any

import attrs

from cuberouted.daemon.service_addresses import ServiceAddresses
from cuberouted.daemon.services import Services
from cuberouted.service_claim import ServiceClaim, ServicePhase
from cuberouted.services import election, machine
from cuberouted.services.commands import Commands
from cuberouted.services.health import Health
from cuberouted.services.machine import ServiceMachine
from cuberouted.services.types import View
from cuberouted.services.witness import Witness
from cuberouted.util.command import CommandEnd
from tests.simulation.mutations.registry import mutation, replace

THEME = "services"


@mutation(THEME)
def settle_time() -> None:
    """a claim counts before everybody knows it."""
    replace(election, "SETTLE_TIME", 0.0)
    replace(machine, "SETTLE_TIME", 0.0)


@mutation(THEME)
def occupied() -> None:
    """an address that another node has is taken."""
    replace(election, "is_vacant", lambda _: True)


@mutation(THEME)
def occupant() -> None:
    """acquiring goes on though another node has the address."""
    replace(election, "occupant", lambda *_: "")


@mutation(THEME)
def always_preempts() -> None:
    """preempt = no is ignored."""

    def claims(self: ServiceMachine, _view: View) -> bool:
        return not election.is_blocked(self.config.priority, _view)

    replace(ServiceMachine, "_claims", claims)


@mutation(THEME)
def never_preempts() -> None:
    """preempt is ignored."""
    replace(ServiceMachine, "_claims", lambda *_: False)


@mutation(THEME)
def equal_preempts() -> None:
    """the address is taken from an equal priority."""

    def is_blocked(priority: int, view: View) -> bool:
        return bool(original(priority + 1, view))

    def succeeds(phase: ServicePhase, priority: int, above: int | None) -> bool:
        return bool(succeeded(phase, priority + 1, above))

    original = replace(election, "is_blocked", is_blocked)
    succeeded = replace(election, "_succeeds", succeeds)


@mutation(THEME)
def last_resort() -> None:
    """who should not have the address gives it up though nobody else may have it."""

    def has_successor(self: ServiceMachine, view: View, why: str) -> bool:
        return bool(why or original(self, view, why))

    original = replace(ServiceMachine, "_has_successor", has_successor)


@mutation(THEME)
def forced_release() -> None:
    """of two nodes that have the address, both keep it."""
    replace(election, "rightful", lambda *_: "")


@mutation(THEME)
def witness() -> None:
    """witness = yes is ignored."""

    def update(self: Witness, *args: Any, **more: Any) -> None:
        original(self, *args, **more)
        self.until = math.inf

    original = replace(Witness, "update", update)


@mutation(THEME)
def adopted() -> None:
    """an address that was found at the start is kept as if it had been taken."""

    def adopt(self: ServiceMachine) -> None:
        original(self)
        self._adopted = False
        self._move(ServicePhase.HOLDING)

    original = replace(ServiceMachine, "_adopt", adopt)


@mutation(THEME)
def not_removed() -> None:
    """the address stays after it was given up."""

    async def set_(self: ServiceAddresses, service: str, address: bytes, *, present: bool) -> bool:
        return bool(not present or await original(self, service, address, present=present))

    original = replace(ServiceAddresses, "set", set_)


@mutation(THEME)
def no_look() -> None:
    """an address that somebody else adds or removes is not noticed."""
    replace(ServiceAddresses, "links_changed", lambda _: None)


@mutation("nodes")
def kept_at_stop() -> None:
    """a daemon that is stopped leaves its services as they are."""

    async def stop(self: Services) -> None:
        self.local.clear()
        await original(self)

    original = replace(Services, "stop", stop)


@mutation(THEME)
def fence() -> None:
    """an address is taken without the fence."""
    replace(election, "next_to_fence", lambda *_: None)


@mutation(THEME)
def fails_on() -> None:
    """a command that fails counts as a success."""
    replace(CommandEnd, "failed", property(lambda _: False))


@mutation(THEME)
def back_off() -> None:
    """after a failure it is tried again at once."""
    replace(Commands, "problem_at", lambda *_: "")


@mutation(THEME)
def on_release() -> None:
    """on_release is not run."""

    def release(self: ServiceMachine) -> None:
        self._to_release = False

    replace(ServiceMachine, "_release", release)


@mutation(THEME)
def health() -> None:
    """a node whose check fails takes the address."""
    replace(Health, "problem", property(lambda _: ""))


@mutation(THEME)
def released_late() -> None:
    """a node says that it has given the address up, and still has it."""

    def claim(self: ServiceMachine) -> ServiceClaim:
        true: ServiceClaim = original.fget(self)
        if self._phase is not ServicePhase.RELEASING:
            return true
        return ServiceClaim(ServicePhase.STANDBY, true.priority)

    original = replace(ServiceMachine, "claim", property(claim))


@mutation(THEME)
def early_claim() -> None:
    """a node says that it has the address before it has it."""

    def has_address(self: ServicePhase) -> bool:
        return self is ServicePhase.ACQUIRING or bool(original.fget(self))

    original = replace(ServicePhase, "has_address", property(has_address))


@mutation(THEME)
def lower_priority() -> None:
    """the lowest priority comes first."""

    def key(claim: ServiceClaim, node: str) -> tuple[int, int, int, str] | None:
        found = original(claim, node)
        return found and (found[0], -found[1], *found[2:])

    original = replace(election, "election_key", key)


@mutation(THEME)
def drained() -> None:
    """a node in maintenance keeps its services."""

    def view(self: Services, config: Any) -> View:
        true: View = original(self, config)
        return attrs.evolve(true, available=True)

    original = replace(Services, "_view", view)


@mutation(THEME)
def kill() -> None:
    """a command that has become pointless is not killed."""

    def pop(self: Commands) -> Any:
        run, _ = original(self)
        return run, False

    original = replace(Commands, "pop", pop)


@mutation(THEME)
def known() -> None:
    """an address is taken before all are known that may have it."""
    replace(election, "is_known", lambda _: True)
