"""Deliberate mistakes in the daemon, by name; the simulation has to find each of them.

Each function changes the classes of its process permanently, so it runs in a process of its
own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Mutation(NamedTuple):
    """A mistake; the faults of *theme* show it soonest."""

    apply: Callable[[], None]
    theme: str


MUTATIONS: dict[str, Mutation] = {}


def mutation(theme: str = "") -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a function under the first line of its docstring."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[(function.__doc__ or "").strip(".")] = Mutation(function, theme)
        return function

    return register


def replace(owner: object, name: str, value: object) -> Any:
    """Replace an attribute. Returns the original.

    Raises:
      AttributeError: *owner* has no such attribute (any more).
    """
    original = getattr(owner, name)
    setattr(owner, name, value)
    return original
