"""What can go wrong, by name.

A fault is a task that does something, waits, and mends it. It says to `Calm` what is not
to be expected meanwhile, and for how long after: "routes", A, B: that A keeps its routes
to B. "claims", A: that what connects to A is known to be newer than all before. "kernel",
A: that A's kernel does what A wants.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from tests.simulation.world import Node, World

T = TypeVar("T")
Fault = Callable[[World], Awaitable[bool]]
"""Returns whether there was anything that it could happen to."""

FAULTS: dict[str, Fault] = {}


def fault(function: Fault) -> Fault:
    """Register a kind of fault under its function's name."""
    FAULTS[getattr(function, "__name__", "")] = function
    return function


def themes() -> dict[str, list[str]]:
    """The kinds of faults by what they happen to: the module that they stand in."""
    found: dict[str, list[str]] = {}
    for name, function in FAULTS.items():
        found.setdefault(function.__module__, []).append(name)
    return found


def one_of(world: World, things: Sequence[T]) -> T | None:
    """Any of these, if there are any."""
    return world.dice.choice(things) if things else None


def two_nodes(world: World) -> tuple[Node, Node]:
    """Two different nodes."""
    a, b = world.dice.sample(world.nodes, 2)
    return a, b


def aftermath(world: World) -> float:
    """Seconds after which everything should be known again."""
    plan = world.plan
    return plan.restart_time + 2 * plan.hold_time + 5


def heard_of(node: Node) -> list[Hashable]:
    """What the others make of *node*."""
    return [("claims", node.name), *(("routes", other.name, node.name) for other in node.others)]


def between(a: Node, b: Node) -> list[Hashable]:
    """What two nodes make of each other."""
    return [("routes", a.name, b.name), ("routes", b.name, a.name)]
