"""Whether the other nodes can take the clients of this one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from cuberouted.model import NodeInfo, NodeState, in_words


@attrs.frozen
class OtherNode:
    """Another node. ``is_up``: it is heard. ``info``: what it says of itself, or None.

    ``clients``: how many it has, by the routes that it advertises.
    """

    name: str
    is_up: bool
    info: NodeInfo | None = None
    clients: int = 0

    @property
    def is_available(self) -> bool:
        """Whether it takes clients. An older version does not say so, and counts as active."""
        return self.is_up and (self.info is None or self.info.state is NodeState.ACTIVE)

    @property
    def room(self) -> int | None:
        """How many more clients it should have at most; None: any number."""
        if self.info is None or not self.info.capacity:
            return None
        return max(0, self.info.capacity - self.info.clients)


@attrs.frozen
class Verdict:
    """``refusals``: why the clients must not be sent on. ``notes``: what else is to be known."""

    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def examine(others: Iterable[OtherNode], clients: int) -> Verdict:
    """Whether the *others* can take so many *clients*."""
    others = tuple(others)
    available = [node for node in others if node.is_available]
    unknown = [node.name for node in available if node.info is None]
    notes = (_unknown(unknown),) if unknown else ()
    if not available:
        return Verdict((f"no other node takes clients: {_states(others)}",), notes)
    rooms = [room for node in available if (room := node.room) is not None]
    if len(rooms) == len(available) and sum(rooms) < clients:
        rest = ", ".join(f"{node.name} {node.room}" for node in available)
        why = f"{clients} clients are here, and the others have room for {sum(rooms)} ({rest})"
        return Verdict((why,), notes)
    return Verdict((), notes)


def _unknown(names: list[str]) -> str:
    says = "does not say" if len(names) == 1 else "do not say"
    return (
        f"{', '.join(names)} {says} whether clients are taken there (an older version of"
        " cuberouted); counted as active, with any capacity"
    )


def _states(others: tuple[OtherNode, ...]) -> str:
    if not others:
        return "none is configured"
    return ", ".join(
        f"{node.name} is {in_words(node.info.state) if node.is_up and node.info else 'down'}"
        for node in others
    )
