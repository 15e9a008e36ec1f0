"""What the claims and the peers mean for one node: functions of a `View`. Pure.

All nodes compute the same from the same claims. Claims arrive late, so a node acts only on a claim
that has stood for `SETTLE_TIME`, its own included: by then everybody knows it that can be reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from cuberouted.service_claim import ServiceClaim, ServicePhase, election_key
from cuberouted.services.types import PeerView, View

SETTLE_TIME = 0.5
"""Seconds that a claim has to stand until it counts: longer than it takes to reach all peers."""

_ELECTABLE = (ServicePhase.STANDBY, ServicePhase.CLAIMING)
"""The phases of who takes the address once nobody has it."""

_LEAVING = (ServicePhase.LAST_RESORT, ServicePhase.RELEASING)
"""The phases of who has the address and gives it to whoever is electable."""


def is_first(own: ServiceClaim, node: str, view: View) -> bool:
    """Whether the claim *own* of *node* comes before those of all other nodes."""
    return election_key(own, node) is not None and not any(
        _precedes(claim, other, own, node) for other, claim in view.claims.items()
    )


def is_vacant(view: View) -> bool:
    """Whether no other node has the address, or is about to get it."""
    return not any(claim.phase.is_occupied for claim in view.claims.values())


def is_elsewhere(view: View) -> bool:
    """Whether another node has the address."""
    return any(claim.phase.has_address for claim in view.claims.values())


def is_anybody_electable(view: View) -> bool:
    """Whether another node may get the address."""
    return any(election_key(claim, node) is not None for node, claim in view.claims.items())


def is_held(view: View) -> bool:
    """Whether another node has the address and is well."""
    return any(claim.phase is ServicePhase.HOLDING for claim in view.claims.values())


def is_known(view: View) -> bool:
    """Whether all claims are known that there may be."""
    return view.settled and not any(peer.pending for peer in view.peers)


def is_known_to_all(since: float, view: View) -> bool:
    """Whether the own claim, electable *since* then, has reached every peer that is heard.

    A peer of which nothing has come since then may be cut off already, and not know it.
    """
    return all(p.last_heard >= since + SETTLE_TIME for p in view.peers if p.heard)


def rightful(own: ServiceClaim, node: str, view: View) -> str:
    """Another node that has the address and comes before *node*, which has it too; or empty."""
    for other, claim in view.claims.items():
        if claim.phase.has_address and _precedes(claim, other, own, node):
            return other
    return ""


def occupant(own: ServiceClaim, node: str, view: View) -> str:
    """The node for whose sake *node* stops to acquire the address, or empty.

    Whoever has it already; of two that acquire it, the one that comes first.
    """
    for other, claim in view.claims.items():
        acquires = claim.phase is ServicePhase.ACQUIRING
        if claim.phase.has_address or (acquires and _precedes(claim, other, own, node)):
            return other
    return ""


def is_outranked(priority: int, view: View) -> bool:
    """Whether a node with *priority* may take the address back from who has it now."""
    return is_held(view) and not is_blocked(priority, view)


def is_blocked(priority: int, view: View) -> bool:
    """Whether a node with this or a higher priority has the address, and does not give it up."""
    return any(
        claim.phase.is_occupied and claim.phase not in _LEAVING and claim.priority >= priority
        for claim in view.claims.values()
    )


def last_heard(view: View) -> float:
    """When the last message of any peer came that has not said goodbye."""
    return max((peer.last_heard for peer in view.peers if not peer.gone), default=-math.inf)


def is_lost(peer: PeerView) -> bool:
    """Whether nobody knows what that peer does, nor is about to."""
    return not (peer.heard or peer.pending or peer.gone)


def lost_peers(view: View) -> set[str]:
    """The names of the lost peers."""
    return {peer.name for peer in view.peers if is_lost(peer)}


def next_to_fence(view: View, fenced: Mapping[str, float]) -> PeerView | None:
    """A peer that may have the address without our knowledge.

    *fenced*: by peer, what its ``last_heard`` was when it was fenced.
    """
    lost = (peer for peer in view.peers if is_lost(peer))
    return next((peer for peer in lost if fenced.get(peer.name) != peer.last_heard), None)


def _precedes(claim: ServiceClaim, node: str, other: ServiceClaim, other_node: str) -> bool:
    """Whether *claim* comes before *other* in the election."""
    first, second = election_key(claim, node), election_key(other, other_node)
    return first is not None and (second is None or first < second)


@attrs.define
class Sightings:
    """Since when the claims of others are what they are now, and peers are heard or lost."""

    _since: dict[str, tuple[ServicePhase, int, float]] = attrs.field(factory=dict, init=False)
    _heard: dict[str, float] = attrs.field(factory=dict, init=False)
    _lost: dict[str, float] = attrs.field(factory=dict, init=False)

    def update(self, view: View, now: float) -> None:
        """Look at the claims and the peers."""
        self._heard = {p.name: self._heard.get(p.name, now) for p in view.peers if p.heard}
        self._lost = {p.name: self._lost.get(p.name, now) for p in view.peers if is_lost(p)}
        new = {}
        for node, claim in view.claims.items():
            old = self._since.get(node)
            same = old is not None and old[:2] == (claim.phase, claim.priority)
            new[node] = old if old and same else (claim.phase, claim.priority, now)
        self._since = new

    def has_successor(self, above: int | None, now: float) -> bool:
        """Whether the address may be given to another node.

        *above*: to who claims it with a higher priority than this. None: to whoever is electable.
        """
        return any(
            now >= since + SETTLE_TIME and _succeeds(phase, priority, above)
            for phase, priority, since in self._since.values()
        )

    def are_settled(self, now: float) -> bool:
        """Whether each peer that is heard has been so for SETTLE_TIME.

        What it said first may be old: TCP delivers it once a path is whole again.
        """
        return now >= max(self._heard.values(), default=-math.inf) + SETTLE_TIME

    @property
    def last_loss(self) -> float:
        """Since when the last of the lost peers is lost, ``-inf``: none is."""
        return max(self._lost.values(), default=-math.inf)

    def next_settled(self, now: float) -> float:
        """When the next claim, peer or loss has stood for SETTLE_TIME, ``inf``: all have."""
        claims = (since for _, _, since in self._since.values())
        times = (
            since + SETTLE_TIME for since in (*claims, *self._heard.values(), *self._lost.values())
        )
        return min((time for time in times if time > now), default=math.inf)


def _succeeds(phase: ServicePhase, priority: int, above: int | None) -> bool:
    if above is None:
        return phase in _ELECTABLE
    return phase is ServicePhase.CLAIMING and priority > above
