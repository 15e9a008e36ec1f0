"""The contract of the sans-IO state machines.

A machine opens no socket, awaits nothing and never asks for the time. Its task does that:

    actions = machine.receive(..., now)      # something came in
    actions = machine.timer(now)             # ``deadline`` has passed
    wait until something comes in, or until machine.deadline

``now`` and ``deadline`` are monotonic seconds. *Actions* is a value that says what the task has
to do, field by field, in the order of the fields; an empty one says "nothing".
"""

from __future__ import annotations

from typing import Protocol, TypeVar

ActionsT_co = TypeVar("ActionsT_co", covariant=True)


class Machine(Protocol[ActionsT_co]):
    """What every machine has besides its own ``receive(..., now)``."""

    @property
    def deadline(self) -> float:
        """When `timer` is due unless something is received before; ``inf``: never."""

    def timer(self, now: float) -> ActionsT_co:
        """What is due at *now*. Before ``deadline`` nothing is, and nothing changes."""
