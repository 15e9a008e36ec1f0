"""Generates the `[service NAME]` sections of a run from its seed. Pure.

It has random numbers of its own, so that services change neither the mesh nor the clients of a
seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import attrs

from cuberouted.model import Prefix
from tests.simulation.commands import Command

ADDRESSES: Final = {"db": "10.100.100.250", "web": "10.100.100.60"}
"""By name of the service. That of web lies inside networks that clients may have."""

PREEMPT: Final = (None, None, 0.0, 1.0, 10.0)


@attrs.frozen
class Seat:
    """The section of one node. ``preempt``: seconds; None: never. ``check_interval``: 0: no check.

    ``programs``: the commands that it has, besides the check; each takes ``duration`` seconds.
    """

    priority: int
    preempt: float | None
    check_interval: float
    rise: int
    fall: int
    programs: tuple[str, ...]
    command_timeout: float
    duration: float

    @property
    def check_timeout(self) -> float:
        """Seconds until a check has failed."""
        return self.check_interval / 2


@attrs.frozen
class ServicePlan:
    """A service; ``seats`` by node."""

    name: str
    nearest: bool
    witness: bool
    seats: dict[str, Seat]

    @property
    def prefix(self) -> Prefix:
        """Its address."""
        return Prefix.parse(ADDRESSES[self.name])

    def durations(self, node: str) -> dict[str, float]:
        """How long the commands of *node* take, by path."""
        seat = self.seats.get(node)
        programs = seat.programs if seat else ()
        return {Command(one, self.name).path: seat.duration for one in programs if seat}

    def section(self, node: str, priority: int) -> str:
        """The section of *node*."""
        seat = self.seats[node]
        lines = [f"[service {self.name}]", f"address = {ADDRESSES[self.name]}"]
        lines += [f"priority = {priority}", f"command_timeout = {seat.command_timeout}"]
        if seat.check_interval:
            lines += [
                f"check = {Command('check', self.name).path}",
                f"check_interval = {seat.check_interval}",
                f"check_timeout = {seat.check_timeout}",
                f"rise = {seat.rise}",
                f"fall = {seat.fall}",
            ]
        lines += [f"{program} = {Command(program, self.name).path}" for program in seat.programs]
        if self.nearest:
            return "\n".join([*lines, "placement = nearest"])
        preempt = "no" if seat.preempt is None else f"{seat.preempt}"
        witness = "yes" if self.witness else "no"
        return "\n".join([*lines, f"preempt = {preempt}", f"witness = {witness}"])


def service_plans(seed: int, nodes: Sequence[str]) -> tuple[ServicePlan, ...]:
    """The services of the run of *seed*."""
    rng = random.Random(f"services {seed}")
    count = rng.choice((0, 1, 1, 2))
    return tuple(_service(rng, name, nodes) for name in sorted(ADDRESSES)[:count])


def _service(rng: random.Random, name: str, nodes: Sequence[str]) -> ServicePlan:
    nearest = rng.random() < 0.15
    equal, checked = rng.random() < 0.3, rng.random() < 0.3
    seated = nodes if rng.random() < 0.7 else rng.sample(nodes, max(2, len(nodes) - 1))
    return ServicePlan(
        name=name,
        nearest=nearest,
        witness=not nearest and rng.random() < 0.4,
        seats={
            node: _seat(rng, nearest=nearest, equal=equal, checked=checked)
            for node in sorted(seated)
        },
    )


def _seat(rng: random.Random, *, nearest: bool, equal: bool, checked: bool) -> Seat:
    programs = ["on_acquire", "on_release"] if nearest else ["fence", "on_acquire", "on_release"]
    share = rng.choice((0.0, 0.5, 1.0))
    return Seat(
        priority=100 if equal else rng.choice((50, 100, 150, 200)),
        preempt=None if nearest else rng.choice(PREEMPT),
        check_interval=rng.choice((0.5, 2.0) if checked else (0.0, 0.5, 2.0)),
        rise=rng.randint(1, 3),
        fall=rng.randint(1, 3),
        programs=tuple(program for program in programs if rng.random() < share),
        command_timeout=rng.choice((1.0, 3.0)),
        duration=rng.choice((0.0, 0.0, 0.1, 0.8)),
    )
