"""The routing information base: who claims which prefix, and which claim is best.

Pure: claims go in, and what changed comes out. It knows neither where a peer is nor what
the kernel holds. It keeps what each source has said, also what the policy refuses, so
that a new policy can be applied to claims that already stand.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import attrs

from cuberouted.model import (
    MAX_VERSION,
    Advertisement,
    Kind,
    LocalRoute,
    Prefix,
    SessionId,
    SupersededSession,
)
from cuberouted.routing.policy import Policy

ADOPTED_VERSION = 0
"""Nobody says 0 on the wire: any real claim beats what was only found in the kernel."""


class Origin(enum.StrEnum):
    """How we know."""

    LOCAL = "local"  # a session of an OpenVPN process of ours
    PEER = "peer"  # a peer has told us, or its route was found in the kernel at our start
    CONFIGURED = "configured"  # a peer's data_ip in our configuration


class Source(NamedTuple):
    """Where a claim comes from. ``name`` is the OpenVPN process or the peer."""

    origin: Origin
    name: str


class RibRoute(NamedTuple):
    """An advertisement and whose it is. ``node`` is the name that the claimant announces."""

    source: Source
    node: str
    advertisement: Advertisement

    @property
    def is_local(self) -> bool:
        """Whether the client is connected to this host."""
        return self.source.origin is Origin.LOCAL


def precedence(claim: RibRoute) -> tuple[int, str, str, str]:
    """Sorts the claims on one prefix, best first.

    The highest version wins; on a tie the lexicographically lower node name, so that all
    nodes agree without asking. What follows decides only between sources on one node.

    Source: RFC 7432 section 15 (MAC mobility), applied to client addresses.
    """
    return (
        -claim.advertisement.version,
        claim.node,
        claim.source.origin.value,
        claim.source.name,
    )


def is_client(claim: RibRoute) -> bool:
    """Whether somebody has said that this is a client (an adopted route is nobody's word)."""
    said = claim.advertisement
    return said.kind is Kind.CLIENT and said.version != ADOPTED_VERSION


def supersedes(best: RibRoute, ours: RibRoute) -> bool:
    """Whether *best* proves that the client behind *ours* has connected elsewhere since.

    Only a confirmed claim proves it: OpenVPN announces a client also when a script then
    refuses it. A tie proves nothing, and where the names differ two servers have given one
    address to two clients: nobody is dropped for that.
    """
    newer, older = best.advertisement, ours.advertisement
    return (
        newer.confirmed
        and newer.version > older.version
        and newer.kind is older.kind is Kind.CLIENT
        and newer.name == older.name
    )


MAX_REMEMBERED_VERSIONS = 4 * 65536
"""Prefixes whose highest version is remembered after every claim has gone; the oldest go first."""


MAX_PREVIOUS_SESSIONS = 64
"""Sessions that are remembered of those which had a prefix before an unconfirmed one; the
oldest go first."""


class RibChange(NamedTuple):
    """What a change to the RIB has changed.

    ``moved``: prefixes whose best claim is another one now, in the order in which that came
    about. ``advertise`` and ``withdraw``: what the peers have to be told of our own claims.
    ``refused``: what the policy did not believe, and why.
    """

    changed_prefixes: dict[Prefix, None]
    advertise: list[Advertisement]
    withdraw: list[Prefix]
    refused: list[tuple[RibRoute, str]]

    @classmethod
    def nothing(cls) -> RibChange:
        """An outcome to be filled."""
        return cls({}, [], [], [])

    def merged(self, later: RibChange) -> RibChange:
        """This, to which *later* has been added: a copy for each of many would be quadratic."""
        self.changed_prefixes.update(later.changed_prefixes)
        self.advertise.extend(later.advertise)
        self.withdraw.extend(later.withdraw)
        self.refused.extend(later.refused)
        return self


@attrs.define
class Rib:
    """Every claim that anybody makes. ``node`` is our own name."""

    node: str
    policy: Policy
    _said: dict[Source, dict[Prefix, RibRoute]] = attrs.field(factory=dict, init=False)
    _claims: dict[Prefix, tuple[RibRoute, ...]] = attrs.field(factory=dict, init=False)
    _local: dict[str, dict[Prefix, LocalRoute]] = attrs.field(factory=dict, init=False)
    _advertised: dict[Prefix, Advertisement] = attrs.field(factory=dict, init=False)
    _superseded: dict[str, dict[Prefix, SupersededSession]] = attrs.field(factory=dict, init=False)
    _highest: dict[Prefix, int] = attrs.field(factory=dict, init=False)
    _displaced: dict[tuple[str, Prefix], dict[SessionId, int]] = attrs.field(
        factory=dict, init=False
    )

    # -- what is known --

    def best(self, prefix: Prefix) -> RibRoute | None:
        """The claim to believe."""
        claims = self._claims.get(prefix)
        return claims[0] if claims else None

    def best_routes(self) -> Iterator[tuple[Prefix, RibRoute]]:
        """Every prefix with the claim to believe."""
        return ((prefix, claims[0]) for prefix, claims in self._claims.items())

    def adj_rib_in(self, source: Source) -> Mapping[Prefix, RibRoute]:
        """All that *source* claims, also what the policy refuses."""
        return self._said.get(source, {})

    def sources(self, origin: Origin) -> list[Source]:
        """Who has ever claimed anything, of this *origin*."""
        return [source for source in self._said if source.origin is origin]

    def superseded(self, instance: str) -> frozenset[SupersededSession]:
        """Sessions of our OpenVPN process *instance* whose client has connected elsewhere."""
        return frozenset(self._superseded.get(instance, {}).values())

    def address_conflicts(self) -> Iterator[tuple[RibRoute, RibRoute]]:
        """The best claim and another, of different common names: overlapping pools."""
        for claims in self._claims.values():
            if len(claims) > 1:
                clients = [claim for claim in claims if is_client(claim)]
                yield from (
                    (clients[0], other)
                    for other in clients[1:]
                    if other.advertisement.name != clients[0].advertisement.name
                )

    # -- what is told --

    def update_peer(
        self,
        source: Source,
        node: str,
        advertise: Iterable[Advertisement],
        withdraw: Iterable[Prefix] = (),
    ) -> RibChange:
        """*source* claims these prefixes, and those no longer."""
        outcome = RibChange.nothing()
        said = self._said.setdefault(source, {})
        for prefix in withdraw:
            self._drop(prefix, source, said, outcome)
        for advertisement in advertise:
            prefix = advertisement.prefix
            said[prefix] = claim = RibRoute(source, node, advertisement)
            self._judge(prefix, source, claim, outcome)
        return outcome

    def adopt(self, source: Source, kind: Kind, prefixes: Iterable[Prefix]) -> RibChange:
        """*prefixes* lead to *source* until somebody says better.

        For a peer's data address in our configuration, and for the routes that the kernel
        still held when we started.
        """
        return self.update_peer(
            source,
            source.name,
            (Advertisement(p, kind, b"", ADOPTED_VERSION, confirmed=False) for p in prefixes),
        )

    def update_local(
        self, instance: str, claims: Iterable[LocalRoute], withdrawn: Iterable[Prefix] = ()
    ) -> RibChange:
        """Our OpenVPN process *instance* has these sessions, and those no longer."""
        source = Source(Origin.LOCAL, instance)
        held = self._local.setdefault(instance, {})
        said = self._said.setdefault(source, {})
        self._superseded.setdefault(instance, {})
        outcome = RibChange.nothing()
        for prefix in withdrawn:
            held.pop(prefix, None)
            self._displaced.pop((instance, prefix), None)
            self._drop(prefix, source, said, outcome)
        for claim in claims:
            prefix, kind, name = claim.prefix, claim.kind, claim.name
            version = self._version(source, held.get(prefix), claim)
            self._displace(source, held.get(prefix), claim)
            held[prefix] = claim
            advertisement = Advertisement(
                prefix, kind, name, version, claim.confirmed, claim.session.since
            )
            said[prefix] = new = RibRoute(source, self.node, advertisement)
            self._judge(prefix, source, new, outcome)
        return outcome

    def apply_policy(self, policy: Policy) -> RibChange:
        """From now on *policy* says what is believed, also of what stands."""
        self.policy = policy
        outcome = RibChange.nothing()
        for source, said in self._said.items():
            for prefix, claim in said.items():
                self._judge(prefix, source, claim, outcome)
        return outcome

    # -- how it is kept --

    def _version(self, source: Source, known: LocalRoute | None, claim: LocalRoute) -> int:
        """The version of a session of ours (design: section 5).

        A session once known keeps its version. One that announces itself is newer than
        anything heard, whatever the clocks say. One that is first found in a listing is
        as old as it is: else a restarted daemon would let its dead session win.
        """
        if (
            known is not None
            and known.session == claim.session
            and (known.announced or not claim.announced)
        ):
            return self._said[source][claim.prefix].advertisement.version
        displaced = self._displaced.get((source.name, claim.prefix), {})
        if claim.session in displaced:
            return displaced[claim.session]
        since = max(1, min(claim.session.since * 1_000_000, MAX_VERSION - 1))
        if not claim.announced:
            return since
        return min(max(since, self._highest.get(claim.prefix, 0) + 1), MAX_VERSION - 1)

    def _displace(self, source: Source, known: LocalRoute | None, claim: LocalRoute) -> None:
        """Remember whom an unconfirmed *claim* displaces: if it is refused, that one is back."""
        where = source.name, claim.prefix
        if claim.confirmed:
            self._displaced.pop(where, None)
        elif known is not None and known.session != claim.session:
            displaced = self._displaced.setdefault(where, {})
            displaced[known.session] = self._said[source][claim.prefix].advertisement.version
            if len(displaced) > MAX_PREVIOUS_SESSIONS:
                del displaced[next(iter(displaced))]

    def _drop(
        self, prefix: Prefix, source: Source, said: dict[Prefix, RibRoute], outcome: RibChange
    ) -> None:
        if said.pop(prefix, None) is not None:
            self._rank(prefix, source, None, outcome)

    def _judge(self, prefix: Prefix, source: Source, claim: RibRoute, outcome: RibChange) -> None:
        version = claim.advertisement.version
        why = self.policy.refusal(prefix, "" if source.origin is Origin.LOCAL else source.name)
        # what was adopted is the administrator's word, or was believed before our restart
        if why is None or version == ADOPTED_VERSION:
            self._remember(prefix, version)
            self._rank(prefix, source, claim, outcome)
        else:
            outcome.refused.append((claim, why))
            self._rank(prefix, source, None, outcome)

    def _remember(self, prefix: Prefix, version: int) -> None:
        if version <= self._highest.get(prefix, -1):
            return
        self._highest[prefix] = version
        if len(self._highest) > MAX_REMEMBERED_VERSIONS:
            del self._highest[next(iter(self._highest))]

    def _rank(
        self, prefix: Prefix, source: Source, claim: RibRoute | None, outcome: RibChange
    ) -> None:
        """Put *claim* in the place of what *source* claimed before, and tell what that changed."""
        old = self._claims.get(prefix, ())
        others = [c for c in old if c.source != source] if old else []
        if claim is not None:
            others.append(claim)
        new = tuple(sorted(others, key=precedence) if len(others) > 1 else others)
        if new == old:
            return
        if new:
            self._claims[prefix] = new
        else:
            del self._claims[prefix]
        if not old or not new or old[0] != new[0]:
            outcome.changed_prefixes[prefix] = None
        if source.origin is Origin.LOCAL or any(c.is_local for c in old):
            self._advertise(prefix, new, outcome)
            self._supersede(prefix, new)

    def _advertise(self, prefix: Prefix, claims: tuple[RibRoute, ...], outcome: RibChange) -> None:
        ours = next((c.advertisement for c in claims if c.is_local), None)
        if ours == self._advertised.get(prefix):
            return
        if ours is None:
            del self._advertised[prefix]
            outcome.withdraw.append(prefix)
        else:
            self._advertised[prefix] = ours
            outcome.advertise.append(ours)

    def _supersede(self, prefix: Prefix, claims: tuple[RibRoute, ...]) -> None:
        for instance, held in self._local.items():
            lost = self._superseded[instance]
            lost.pop(prefix, None)
            if len(claims) < 2:
                continue
            ours = next((c for c in claims if c.is_local and c.source.name == instance), None)
            if ours is not None and supersedes(claims[0], ours):
                session = held[prefix].session
                lost[prefix] = SupersededSession(
                    prefix, ours.advertisement.name, session, claims[0].node
                )
