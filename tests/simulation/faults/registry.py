"""The kinds of faults, by name.

A fault is a task that injects it, waits, and removes it. It marks in `Disturbances` which
invariants are suspended meanwhile, and for how long after:

- ("routes", A, B): A keeps its routes to B.
- ("versions", A): a session that begins on A gets a higher version than all before it.
- ("kernel", A): A's kernel contains what A wants.
- ("prefix", P): routes to P are kept.
- ("claims", A, B): A knows what B claims of services.
- ("addresses", A): A's kernel has the addresses of services that A wants.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from tests.simulation.world import Node, World

T = TypeVar("T")
Fault = Callable[[World], Awaitable[bool]]
"""Returns whether it could be injected."""

FAULTS: dict[str, Fault] = {}


def fault(function: Fault) -> Fault:
    """Register a kind of fault under its function's name."""
    FAULTS[getattr(function, "__name__", "")] = function
    return function


def themes() -> dict[str, list[str]]:
    """The kinds of faults by theme, which is the module that defines them."""
    found: dict[str, list[str]] = {}
    for name, function in FAULTS.items():
        found.setdefault(function.__module__, []).append(name)
    return found


def one_of(world: World, things: Sequence[T]) -> T | None:
    """A random one of these; None if there are none."""
    return world.rng.choice(things) if things else None


def two_nodes(world: World) -> tuple[Node, Node]:
    """Two different nodes."""
    a, b = world.rng.sample(world.nodes, 2)
    return a, b


def aftermath(world: World) -> float:
    """Seconds after which all nodes have recovered."""
    plan = world.plan
    return plan.restart_time + 2 * plan.hold_time + 5


def learned_from(node: Node) -> list[Hashable]:
    """The keys of what other nodes have learned from *node*."""
    return [("versions", node.name), *(("routes", other.name, node.name) for other in node.others)]


def between(a: Node, b: Node) -> list[Hashable]:
    """The keys of what two nodes have learned from each other."""
    return [("routes", a.name, b.name), ("routes", b.name, a.name)]


def claims_between(a: Node, b: Node) -> list[Hashable]:
    """The keys of what two nodes know of each other's claims to services."""
    return [("claims", a.name, b.name), ("claims", b.name, a.name)]
