"""The contract of the sans-IO state machines.

A machine opens no socket, awaits nothing and never reads the clock. Its task does:

    actions = machine.receive(..., now)      # something was received
    actions = machine.timer(now)             # ``deadline`` has passed
    # perform the actions, then wait until something is received, or until machine.deadline

``now`` and ``deadline`` are monotonic seconds. *Actions* is a value whose class name ends in
``Actions``. It says what the task has to do, in the order of its fields; empty fields need nothing.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

ActionsT_co = TypeVar("ActionsT_co", covariant=True)


class Machine(Protocol[ActionsT_co]):
    """What every machine has besides its own ``receive(..., now)``."""

    @property
    def deadline(self) -> float:
        """When `timer` is due if nothing is received before; ``inf``: never."""

    def timer(self, now: float) -> ActionsT_co:
        """Do what is due at *now*. Before ``deadline`` this changes nothing."""
