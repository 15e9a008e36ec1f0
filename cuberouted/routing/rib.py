"""The routing information base: the routes of every source, and the best one of each prefix.

Pure: advertisements of peers and of local sessions go in by `Rib.update`, and a `RibChange` comes
out. The RIB knows neither how a peer is reached nor what the kernel holds. It keeps everything
that a source advertises, also what the policy refuses, so that a new policy can be applied to
advertisements that already stand.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import attrs

from cuberouted.model import Advertisement, Kind, Prefix, printable_name
from cuberouted.routing.coverage import Coverage
from cuberouted.routing.policy import Policy
from cuberouted.service_claim import NEVER, routing_key, routing_reason

ADOPTED_VERSION = 0
"""The version of routes that were found in the kernel at the start, or are configured. It is
never sent, so every advertisement is better."""

MAX_REMEMBERED_VERSIONS = 4 * 65536
"""Prefixes whose highest version is remembered after all their routes are gone; oldest go first."""


class Origin(enum.StrEnum):
    """Where a route comes from."""

    LOCAL = "local"  # a session of an OpenVPN process on this host, or our own data address
    PEER = "peer"  # a peer's advertisement, or a route to it that was in the kernel at our start
    CONFIGURED = "configured"  # a peer's data_ip in our configuration
    KERNEL = "kernel"  # a route to an OpenVPN process on this host, in the kernel at our start


class Source(NamedTuple):
    """The OpenVPN process or peer that a route comes from. ``name`` is its configured name."""

    origin: Origin
    name: str


class RibRoute(NamedTuple):
    """A route in the RIB (BGP: a path). ``node`` is the name that the advertising node has."""

    source: Source
    node: str
    advertisement: Advertisement

    @property
    def is_local(self) -> bool:
        """Whether the client is connected to this host."""
        return self.source.origin is Origin.LOCAL

    @property
    def leads_here(self) -> bool:
        """Whether it leads to an OpenVPN process on this host, now or before our restart."""
        return self.source.origin in (Origin.LOCAL, Origin.KERNEL)


class RibChange(NamedTuple):
    """What an update of the RIB has changed.

    ``changed_prefixes``: prefixes whose best route is another one, in order of the changes.
    ``alternatives``: prefixes that have or had more than one route, and others now.
    ``inside``: local prefixes inside such a one, for which `Rib.is_covered` may have changed.
    ``services``: addresses of services whose routes are others.
    ``advertise``, ``withdraw``: what has to be sent to the peers. ``refused``: routes that the
    policy did not accept, and why. ``superseded``: the OpenVPN processes whose superseded
    sessions (`Rib.superseded`) are others.
    """

    changed_prefixes: dict[Prefix, None]
    alternatives: dict[Prefix, None]
    inside: dict[Prefix, None]
    services: set[Prefix]
    advertise: list[Advertisement]
    withdraw: list[Prefix]
    refused: list[tuple[RibRoute, str]]
    superseded: set[str]

    @classmethod
    def empty(cls) -> RibChange:
        """A change to which others can be added."""
        return cls({}, {}, {}, set(), [], [], [], set())

    def add(self, later: RibChange) -> None:
        """Append *later*, in place: copies would make many small changes quadratic."""
        self.changed_prefixes.update(later.changed_prefixes)
        self.alternatives.update(later.alternatives)
        self.inside.update(later.inside)
        self.services.update(later.services)
        self.advertise.extend(later.advertise)
        self.withdraw.extend(later.withdraw)
        self.refused.extend(later.refused)
        self.superseded.update(later.superseded)


def is_vacant(best: RibRoute) -> bool:
    """Whether *best* is a claim to a service whose address nobody has."""
    claim = best.advertisement.service
    return claim is not None and not claim.phase.has_address


Key = tuple[bool, tuple[bool, bool, int, int, int, str], int, str, str, str]

_NO_SERVICE = (True, True, 0, 0, NEVER, "")


def precedence(route: RibRoute) -> Key:
    """The sort key of the routes to one prefix: the best route has the lowest.

    Claims to a service come first, in their own order (`service_claim.routing_key`). Of the others
    the highest version wins; on a tie the lexicographically lower node name, so that all nodes
    choose alike. What follows only decides between two sources on the same node.

    Source: RFC 7432 section 15 (MAC mobility), applied to client addresses.
    """
    (origin, name), node, advertisement = route
    claim = advertisement.service
    if claim is None:
        return (True, _NO_SERVICE, -advertisement.version, node, origin, name)
    key = routing_key(claim, node, is_local=route.leads_here)
    return (False, key, 0, node, origin, name)


def _by_kind(best: RibRoute, other: RibRoute) -> str:
    if other.advertisement.version == ADOPTED_VERSION:
        return _by_version(best, other)
    name = printable_name(best.advertisement.name)
    return f"the address of service {name}: that comes before any other kind of route"


def _by_claim(best: RibRoute, other: RibRoute) -> str:
    first, second = best.advertisement.service, other.advertisement.service
    if first is None or second is None:
        raise ValueError(f"not two claims to a service: {best}, {other}")
    return routing_reason(
        first,
        best.node,
        second,
        other.node,
        best_is_local=best.leads_here,
        other_is_local=other.leads_here,
    )


def _by_version(best: RibRoute, other: RibRoute) -> str:
    if other.advertisement.version == ADOPTED_VERSION:
        where = "configured" if other.source.origin is Origin.CONFIGURED else "found in the kernel"
        return f"{where}, not advertised: whatever is advertised comes first"
    if best.advertisement.kind is Kind.SERVER:
        return "its version is lower"
    return f"its session is older than the one at {best.node}"


def _by_node(best: RibRoute, other: RibRoute) -> str:
    return f"the same version: {best.node} comes before {other.node} by its name"


def _by_source(best: RibRoute, other: RibRoute) -> str:
    first, second = (" ".join(r.source).rstrip() for r in (best, other))
    return f"the same version and node: {first} comes before {second}"


_REASONS = (_by_kind, _by_claim, _by_version, _by_node, _by_source, _by_source)
"""What each part of the key in `precedence` means where it decides."""


def reason(best: RibRoute, other: RibRoute) -> str:
    """Why *best* comes before *other*, from the key that orders them: `precedence`.

    Raises:
      ValueError: it does not.
    """
    first, second = precedence(best), precedence(other)
    if first >= second:
        raise ValueError(f"{best} does not come before {other}")
    parts = zip(first, second, _REASONS, strict=True)
    return next(explain(best, other) for one, two, explain in parts if one != two)


def why_kept(best: RibRoute, local: RibRoute) -> str | None:
    """Why *best* does not supersede the session behind *local*; None: it does.

    It does if it proves that the client has moved to it. Equal versions prove nothing.
    """
    newer, older = best.advertisement, local.advertisement
    if newer.version <= older.version:
        return "not superseded by a newer session"
    if newer.kind is not Kind.CLIENT or older.kind is not Kind.CLIENT:
        return "only a client's address shows where the client is"
    if newer.name != older.name:
        return "another client with the same address: the address pools overlap"
    if not newer.confirmed:
        # OpenVPN announces also a client that a script then refuses; only a listing confirms it
        return f"the session at {best.node} is not in a listing there yet"
    return None


def supersedes(best: RibRoute, local: RibRoute) -> bool:
    """Whether the client of the session behind *local* has moved to *best*."""
    return why_kept(best, local) is None


class Claim(NamedTuple):
    """A route in the RIB, and why it is not the best one; ``why`` is empty for the best.

    ``refused``: the policy does not accept it. ``kept``: of the session of this host behind it,
    why it is not superseded by the best; None if it is, or there is no such session.
    """

    route: RibRoute
    why: str = ""
    refused: bool = False
    kept: str | None = None


@attrs.define
class Rib:
    """The routes of all sources."""

    policy: Policy = attrs.field(factory=Policy)
    _adj_rib_in: dict[Source, dict[Prefix, RibRoute]] = attrs.field(factory=dict, init=False)
    _accepted: dict[Prefix, tuple[RibRoute, ...]] = attrs.field(factory=dict, init=False)
    _address_conflicts: set[Prefix] = attrs.field(factory=set, init=False)
    _advertised: dict[Prefix, Advertisement] = attrs.field(factory=dict, init=False)
    _superseded: dict[str, dict[Prefix, tuple[RibRoute, RibRoute]]] = attrs.field(
        factory=dict, init=False
    )
    _refused: dict[Source, dict[Prefix, str]] = attrs.field(factory=dict, init=False)
    _services: dict[Prefix, None] = attrs.field(factory=dict, init=False)
    _highest: dict[Prefix, int] = attrs.field(factory=dict, init=False)
    _coverage: Coverage = attrs.field(factory=Coverage, init=False)

    # -- queries --

    def best(self, prefix: Prefix) -> RibRoute | None:
        """The best route to *prefix*."""
        routes = self._accepted.get(prefix)
        return routes[0] if routes else None

    def prefixes(self) -> tuple[Prefix, ...]:
        """Every prefix that has a route."""
        return tuple(self._accepted)

    def best_routes(self) -> Iterator[tuple[Prefix, RibRoute]]:
        """Every prefix with its best route."""
        return ((prefix, routes[0]) for prefix, routes in self._accepted.items())

    def claims(self, prefix: Prefix) -> list[Claim]:
        """Every route to exactly *prefix*: the best first, those that the policy refuses last."""
        accepted = self._accepted.get(prefix, ())
        best = accepted[0] if accepted else None
        found = []
        for route in accepted:
            if route is best or best is None:
                found.append(Claim(route))
            else:
                is_session = route.is_local and route.advertisement.service is None
                kept = why_kept(best, route) if is_session else None
                found.append(Claim(route, reason(best, route), kept=kept))
        for source, refused in self._refused.items():
            if prefix in refused:
                route = self._adj_rib_in[source][prefix]
                found.append(Claim(route, f"refused: {refused[prefix]}", refused=True))
        return found

    def service_prefixes(self) -> Iterator[Prefix]:
        """The addresses of all services that anybody claims."""
        return iter(self._services)

    def services(self, prefix: Prefix) -> list[RibRoute]:
        """Every accepted claim to the service with this address, the best first."""
        routes = self._accepted.get(prefix, ())
        return [route for route in routes if route.advertisement.service is not None]

    def followed(self, prefix: Prefix) -> RibRoute | None:
        """The route that packets to *prefix* should take: the best; of a service, its holder's.

        While nobody has a service's address it is the route that was in the kernel at our start,
        until its peer has advertised.
        """
        best = self.best(prefix)
        if best is None or not is_vacant(best):
            return best
        for route in self._accepted[prefix]:
            is_peer = route.source.origin is Origin.PEER
            if is_peer and route.advertisement.version == ADOPTED_VERSION:
                return route
        return None

    def adj_rib_in(self, source: Source) -> Mapping[Prefix, RibRoute]:
        """All routes of *source*, also those that the policy refuses."""
        return self._adj_rib_in.get(source, {})

    def refused(self, source: Source) -> dict[Prefix, str]:
        """What *source* advertises now and the policy refuses, and why; the latest is the last."""
        return self._refused.get(source, {})

    def sources(self, origin: Origin) -> list[Source]:
        """The sources of this *origin* that have ever advertised anything."""
        return [source for source in self._adj_rib_in if source.origin is origin]

    def is_covered(self, prefix: Prefix) -> bool:
        """Whether the best route of a wider network leads to another node."""
        return self._coverage.covers(prefix)

    def highest_version(self, prefix: Prefix) -> int:
        """The highest version that was ever accepted for *prefix*, or 0."""
        return self._highest.get(prefix, 0)

    def superseded(self, instance: str) -> Mapping[Prefix, tuple[RibRoute, RibRoute]]:
        """Prefixes of superseded sessions of OpenVPN process *instance*: local and best route."""
        return self._superseded.get(instance, {})

    @property
    def address_conflict_count(self) -> int:
        """How many `address_conflicts` there are."""
        return len(self._address_conflicts)

    def address_conflicts(self) -> Iterator[tuple[RibRoute, RibRoute]]:
        """The best and another route of different common names: overlapping address pools."""
        for prefix in self._address_conflicts:
            conflict = self.address_conflict(prefix)
            if conflict is not None:
                yield conflict

    def address_conflict(self, prefix: Prefix) -> tuple[RibRoute, RibRoute] | None:
        """The best and the first other route to *prefix* of different common names, if any."""
        clients = [
            route
            for route in self._accepted.get(prefix, ())
            if route.advertisement.kind is Kind.CLIENT
            and route.advertisement.version != ADOPTED_VERSION
        ]
        for other in clients[1:]:
            if other.advertisement.name != clients[0].advertisement.name:
                return clients[0], other
        return None

    # -- updates --

    def update(
        self,
        source: Source,
        node: str,
        advertise: Iterable[Advertisement],
        withdraw: Iterable[Prefix] = (),
    ) -> RibChange:
        """*source* withdraws and advertises; *node* is the name that it announces."""
        change = RibChange.empty()
        routes = self._adj_rib_in.setdefault(source, {})
        for prefix in withdraw:
            if routes.pop(prefix, None) is not None:
                self._refused.get(source, {}).pop(prefix, None)
                self._replace(prefix, source, None, change)
        for advertisement in advertise:
            routes[advertisement.prefix] = route = RibRoute(source, node, advertisement)
            self._import(route, change)
        return change

    def adopt(self, source: Source, node: str, kind: Kind, prefixes: Iterable[Prefix]) -> RibChange:
        """Let *prefixes* lead to *source* until a better route is advertised.

        For routes that an earlier run has left in the kernel, and for configured addresses.
        """
        return self.update(
            source,
            node,
            (Advertisement(p, kind, b"", ADOPTED_VERSION, confirmed=False) for p in prefixes),
        )

    def reevaluate(self, source: Source, prefixes: Iterable[Prefix]) -> RibChange:
        """Apply the present policy to routes of *source* that were imported under another."""
        change = RibChange.empty()
        routes = self._adj_rib_in.get(source, {})
        for prefix in prefixes:
            if prefix in routes:
                self._import(routes[prefix], change)
        return change

    def _import(self, route: RibRoute, change: RibChange) -> None:
        source, _, advertisement = route
        prefix, version = advertisement.prefix, advertisement.version
        peer = "" if source.origin is Origin.LOCAL else source.name
        why = self.policy.refusal(prefix, advertisement.kind, peer)
        # an adopted route was accepted before our restart; a configured one is the administrator's
        refused = self._refused.setdefault(source, {})
        if refused:
            refused.pop(prefix, None)
        if why is None or version == ADOPTED_VERSION:
            self._remember_version(prefix, version)
            self._replace(prefix, source, route, change)
        else:
            refused[prefix] = why
            change.refused.append((route, why))
            self._replace(prefix, source, None, change)

    def _remember_version(self, prefix: Prefix, version: int) -> None:
        if version <= self._highest.get(prefix, -1):
            return
        self._highest[prefix] = version
        if len(self._highest) > MAX_REMEMBERED_VERSIONS:
            del self._highest[next(iter(self._highest))]

    def _replace(
        self, prefix: Prefix, source: Source, route: RibRoute | None, change: RibChange
    ) -> None:
        """Put *route* in place of the accepted route of *source*, and record what that changes."""
        old = self._accepted.get(prefix, ())
        others = [r for r in old if r.source != source] if old else []
        if route is not None:
            others.append(route)
        new = tuple(sorted(others, key=precedence) if len(others) > 1 else others)
        if new == old:
            return
        self._note_service(prefix, new, change)
        if new:
            self._accepted[prefix] = new
        else:
            del self._accepted[prefix]
        if len(new) > 1 or len(old) > 1:
            change.alternatives[prefix] = None
            if self.address_conflict(prefix) is not None:
                self._address_conflicts.add(prefix)
            else:
                self._address_conflicts.discard(prefix)
        if not old or not new or old[0] != new[0]:
            change.changed_prefixes[prefix] = None
            # a client of any node ends here, unless somebody has a network
            if self._coverage.in_use or not prefix.is_host:
                self._best_changed(prefix, old[0] if old else None, new[0] if new else None, change)
        if source.origin is Origin.LOCAL or (old and any(r.is_local for r in old)):
            self._advertise(prefix, new, change)
            self._supersede(prefix, new, change)

    def _note_service(
        self, prefix: Prefix, routes: tuple[RibRoute, ...], change: RibChange
    ) -> None:
        if routes and routes[0].advertisement.service is not None:  # such claims come first
            self._services[prefix] = None
            change.services.add(prefix)
        elif prefix in self._services:
            del self._services[prefix]
            change.services.add(prefix)

    def _best_changed(
        self, prefix: Prefix, old: RibRoute | None, new: RibRoute | None, change: RibChange
    ) -> None:
        coverage = self._coverage
        was_local, is_local = (r is not None and r.is_local for r in (old, new))
        if was_local != is_local:
            coverage.set_local(prefix, is_local)
        covered, covers = (r is not None and not r.leads_here for r in (old, new))
        if covered == covers or prefix.is_host:
            return
        if not coverage.in_use:
            coverage.start([p for p, routes in self._accepted.items() if routes[0].is_local])
        coverage.set_network(prefix, covers)
        change.inside.update(dict.fromkeys(coverage.inside(prefix)))

    def _advertise(self, prefix: Prefix, routes: tuple[RibRoute, ...], change: RibChange) -> None:
        local = next((r.advertisement for r in routes if r.is_local), None)
        if local == self._advertised.get(prefix):
            return
        if local is None:
            del self._advertised[prefix]
            change.withdraw.append(prefix)
        else:
            self._advertised[prefix] = local
            change.advertise.append(local)

    def _supersede(self, prefix: Prefix, routes: tuple[RibRoute, ...], change: RibChange) -> None:
        new = {
            route.source.name: (route, routes[0])
            for route in routes[1:]
            if route.is_local and supersedes(routes[0], route)
        }
        for instance in {*self._superseded, *new}:
            superseded = self._superseded.setdefault(instance, {})
            if superseded.get(prefix) != new.get(instance):
                change.superseded.add(instance)
                superseded.pop(prefix, None)
                if instance in new:
                    superseded[prefix] = new[instance]
