"""A node's claim to a shared service address, and the order of such claims. Pure.

Every node advertises a claim for each of its ``[service NAME]`` sections, and sees those of all
others. From the claims alone every node computes the same two things:

- who should have the address: the lowest `election_key`;
- where packets to it go meanwhile: the lowest `routing_key`. Only nodes that have the address
  come into question, so a node that takes over gets packets once it can answer them.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

NEVER: Final = 2**62
"""``held_since`` of who does not have the address, in the keys: later than any time."""


class ServicePhase(enum.StrEnum):
    """What a node is to a service.

    UNFIT: its check fails, it is in maintenance, it hears no witness, or a command has failed: it
    never gets the address. STANDBY: it takes the address once nobody has it. CLAIMING: it comes
    before the holder (preempt), and waits until that has released it. ACQUIRING: its commands run.
    HOLDING: it has the address. ADOPTED: it has had the address since before its daemon's restart,
    and does not know yet who else has it. LAST_RESORT: it has the address but should not; whoever
    is on standby takes it. RELEASING: it still has the address while its command runs.
    """

    UNFIT = "unfit"
    STANDBY = "standby"
    CLAIMING = "claiming"
    ACQUIRING = "acquiring"
    HOLDING = "holding"
    ADOPTED = "adopted"
    LAST_RESORT = "last_resort"
    RELEASING = "releasing"

    @property
    def has_address(self) -> bool:
        """Whether the address is on the node."""
        return self in _ROUTED

    @property
    def is_occupied(self) -> bool:
        """Whether nobody else may take the address now."""
        return self in _ROUTED or self is ServicePhase.ACQUIRING

    @property
    def can_take_over(self) -> bool:
        """Whether the node gets the address, or has it, once another one gives it up."""
        return self in _ELECTED and self is not ServicePhase.LAST_RESORT


_ROUTED: Final = MappingProxyType(
    {
        ServicePhase.HOLDING: 0,
        ServicePhase.ADOPTED: 1,
        ServicePhase.LAST_RESORT: 2,
        ServicePhase.RELEASING: 3,
    }
)
"""Where packets go: the rank of each phase that has the address."""

_ELECTED: Final = MappingProxyType(
    {
        ServicePhase.HOLDING: 0,
        ServicePhase.ACQUIRING: 0,
        ServicePhase.CLAIMING: 0,
        ServicePhase.ADOPTED: 1,
        ServicePhase.STANDBY: 2,
        ServicePhase.LAST_RESORT: 3,
    }
)
"""Who should have it: the rank of each phase. The others are never elected."""


class ServiceClaim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one node says of one service. The node's name comes with the advertisement.

    ``held_since``: Unix microseconds of that node's clock, 0 without the address. ``nearest``:
    each node's own clients are served by itself, if it has the address (placement = nearest).
    ``why``: a clause for people about an UNFIT, LAST_RESORT or CLAIMING node, or empty.
    """

    phase: ServicePhase
    priority: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    held_since: Annotated[int, msgspec.Meta(ge=0, lt=NEVER)] = 0
    nearest: bool = False
    why: Annotated[str, msgspec.Meta(max_length=200)] = ""


def election_key(claim: ServiceClaim, node: str) -> tuple[int, int, int, str] | None:
    """The sort key of the nodes that may have the address: the lowest should. None: it may not.

    Who claims it comes before who waits; then the higher priority, then who has held it longest,
    then the lower name.
    """
    rank = _ELECTED.get(claim.phase)
    if rank is None:
        return None
    return (rank, -claim.priority, claim.held_since or NEVER, node)


def routing_key(
    claim: ServiceClaim, node: str, *, is_local: bool
) -> tuple[bool, bool, int, int, int, str]:
    """The sort key of the routes to the address: the best has the lowest.

    A node without the address is never the best while another has it (`ServicePhase.has_address`).
    """
    return (
        not claim.phase.has_address,
        not (claim.nearest and is_local),
        _ROUTED.get(claim.phase, len(_ROUTED)),
        -claim.priority,
        claim.held_since or NEVER,
        node,
    )


def routing_reason(
    best: ServiceClaim,
    best_node: str,
    other: ServiceClaim,
    node: str,
    *,
    best_is_local: bool,
    other_is_local: bool,
) -> str:
    """Why packets go by *best*, and not by *other* of *node*, from their keys: `routing_key`.

    Raises:
      ValueError: they do not.
    """
    first = routing_key(best, best_node, is_local=best_is_local)
    second = routing_key(other, node, is_local=other_is_local)
    if first >= second:
        raise ValueError(f"{best} of {best_node} does not come before {other} of {node}")
    state = describe_phase(other)
    reasons = (  # what each part of the key means where it decides
        state,
        f"placement = nearest: {best_node} is this node",
        state,
        f"its priority {other.priority} is below the {best.priority} of {best_node}",
        f"{best_node} has had the address for longer",
        f"the same priority: {best_node} comes first by its name",
    )
    parts = zip(first, second, reasons, strict=True)
    return next(why for one, two, why in parts if one != two)


_STATES: Final = MappingProxyType(
    {
        ServicePhase.UNFIT: "it cannot have the address",
        ServicePhase.STANDBY: "it is on standby",
        ServicePhase.CLAIMING: "it claims the address, and does not have it yet",
        ServicePhase.ACQUIRING: "it is acquiring the address",
        ServicePhase.HOLDING: "it has the address",
        ServicePhase.ADOPTED: "it has had the address since before its daemon's restart",
        ServicePhase.LAST_RESORT: "it has the address only until another node can take it",
        ServicePhase.RELEASING: "it is releasing the address",
    }
)


def describe_phase(claim: ServiceClaim) -> str:
    """What the phase of *claim* means, as a reason why another node comes first."""
    return _STATES[claim.phase] + (f": {claim.why}" if claim.why else "")
