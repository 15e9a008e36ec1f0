"""The forwarding information base: what the kernel should hold, held against what it does.

Pure. `Fib` is told where every prefix should lead, what a scan of the kernel found, and
what became of the changes that it asked for; it answers with the next changes. Each
nexthop object stands for one peer, family and role, and every route names one: so that a
peer's move is one message and so is its loss.
"""

from __future__ import annotations

import errno
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import attrs

from cuberouted.model import Prefix
from cuberouted.routing.paths import Path
from cuberouted.routing.values import (
    Change,
    ForeignRoute,
    Installed,
    Nexthop,
    Refusal,
    Route,
    StrayRoute,
    Verb,
)

FIRST_NEXTHOP_ID = 250_565_700
"""Ours begin here: FRR's own lie below 250,000,000. Even ids carry clients, odd ones servers."""

ALREADY_GONE = frozenset({errno.ESRCH, errno.ENOENT})


class Target(NamedTuple):
    """Where a prefix should lead. ``name`` is a neighbour's (`paths.Neighbour`).

    ``to_server``: the prefix is the neighbour's own data address, which stays when its
    clients go; so it has a nexthop object of its own.
    """

    name: str
    family: int
    to_server: bool


@attrs.define
class Fib:
    """The mirror of what we have in the kernel, and what we want there.

    ``paths``: where each neighbour is (`paths.paths`). ``sources``: preferred source
    addresses by network (`paths.preferred_sources`). Both are set before each scan.
    ``shunned``: neighbours that no client's route may lead to, whatever is wanted.
    """

    metric: int
    paths: Mapping[tuple[str, int], Path] = attrs.field(factory=dict)
    sources: Sequence[tuple[Prefix, bytes]] = ()
    shunned: set[str] = attrs.field(factory=set, init=False)
    stale: bool = attrs.field(default=False, init=False)
    _installed: dict[Prefix, Route] = attrs.field(factory=dict, init=False)
    _since: dict[Prefix, float] = attrs.field(factory=dict, init=False)
    _nexthops: dict[int, Nexthop] = attrs.field(factory=dict, init=False)
    _ids: dict[Target, int] = attrs.field(factory=dict, init=False)
    _taken: set[int] = attrs.field(factory=set, init=False)
    _desired: dict[Prefix, Target] = attrs.field(factory=dict, init=False)
    _users: Counter[Target] = attrs.field(factory=Counter, init=False)
    _refused: dict[Prefix, str] = attrs.field(factory=dict, init=False)
    _foreign: dict[Prefix, dict[tuple[int, int], ForeignRoute]] = attrs.field(
        factory=dict, init=False
    )

    # -- what is told --

    def scanned(self, found: Installed, now: float) -> list[Change]:
        """A dump of all that is ours: from *now* on this is what is installed.

        Returns what can go at once, because nothing of ours has that form.
        """
        self._installed = dict(found.routes)
        self._nexthops = dict(found.nexthops)
        self._since = {prefix: self._since.get(prefix, now) for prefix in found.routes}
        self._refused.clear()
        self.stale = False
        self._recognise()
        return [Change(Verb.DELETE, stray) for stray in found.strays]

    def adopted(self) -> dict[Target, list[Prefix]]:
        """The installed routes by whom their nexthop stands for."""
        targets = {id_: target for target, id_ in self._ids.items()}
        routes: dict[Target, list[Prefix]] = {}
        for route in self._installed.values():
            if route.nexthop in targets:
                routes.setdefault(targets[route.nexthop], []).append(route.prefix)
        return routes

    def foreign(self, appeared: Iterable[ForeignRoute], vanished: Iterable[ForeignRoute]) -> None:
        """Routes of others in our table, inside the networks that concern us."""
        for route in vanished:
            beside = self._foreign.get(route.prefix, {})
            beside.pop((route.metric, route.protocol), None)
            if not beside:
                self._foreign.pop(route.prefix, None)
        for route in appeared:
            self._foreign.setdefault(route.prefix, {})[route.metric, route.protocol] = route

    def forget_foreign(self) -> None:
        """A new list of foreign routes follows."""
        self._foreign.clear()

    def want(
        self, prefixes: Iterable[Prefix], target_of: Callable[[Prefix], Target | None]
    ) -> None:
        """Where these prefixes should lead from now on."""
        desired, users = self._desired, self._users
        for prefix in prefixes:
            old, new = desired.get(prefix), target_of(prefix)
            if old == new:
                continue
            if old is not None:
                users[old] -= 1
                del desired[prefix]
            if new is not None:
                users[new] += 1
                desired[prefix] = new

    # -- what is to be done --

    def changes(self, prefixes: Iterable[Prefix]) -> list[Change]:
        """What makes the kernel right for these *prefixes*, in the order to do it."""
        new = [*self._new_nexthops()]
        ids = self._used_ids()
        unused = [nexthop for id_, nexthop in self._nexthops.items() if id_ not in ids.values()]
        going = {nexthop.id for nexthop in unused}
        routes: list[Change] = []
        desired, installed, source = self._desired.get, self._installed.get, self._source
        for prefix in prefixes:
            have, target = installed(prefix), desired(prefix)
            id_ = None if target is None else ids.get(target)
            wanted = None if id_ is None else Route(prefix, id_, source(prefix))
            if have == wanted:
                continue
            # the kernel removes what is left on a nexthop together with it
            if have is not None and (wanted is not None or have.nexthop not in going):
                routes.append(Change(Verb.DELETE, have))
            if wanted is not None:
                routes.append(Change(Verb.ADD, wanted))
        return new + routes + [Change(Verb.DELETE, nexthop) for nexthop in unused]

    def everything(self) -> set[Prefix]:
        """Every prefix that is wanted or installed."""
        return {*self._desired, *self._installed}

    def done(
        self, changes: Sequence[Change], refusals: Iterable[Refusal], now: float
    ) -> set[Prefix]:
        """What became of *changes* at *now*. Returns the prefixes to ask `changes` about again.

        ``stale`` is set when the kernel is not as we believed: then scan it again.
        """
        refused = {refusal.change: refusal for refusal in refusals}
        again: set[Prefix] = set()
        for change in changes:
            refusal = refused.get(change) if refused else None
            if refusal is None:
                self._succeeded(change, now)
            else:
                again |= self._failed(refusal, now)
        return again

    # -- what is shown --

    @property
    def desired_count(self) -> int:
        """How many routes there should be."""
        return len(self._desired)

    @property
    def installed_count(self) -> int:
        """How many routes of ours there are."""
        return len(self._installed)

    def installed_since(self) -> Mapping[Prefix, float]:
        """Since when each route of ours has been there, in monotonic seconds."""
        return self._since

    def conflicts(self) -> dict[Prefix, str]:
        """The routes that do not have the effect they should, and why."""
        found = dict(self._refused)
        for prefix in self._foreign.keys() & self._desired.keys():
            for other in self._foreign[prefix].values():
                if other.metric < self.metric:
                    found[prefix] = _shadowed(prefix, other)
        return found

    # -- how it is kept --

    def _recognise(self) -> None:
        """Find out which nexthop object stands for whom (after a restart, or an intrusion)."""
        self._ids = {t: i for t, i in self._ids.items() if self._still_fits(t, i)}
        known = set(self._ids.values())
        by_path: dict[Path, list[tuple[str, int]]] = {}
        for where, path in self.paths.items():
            by_path.setdefault(path, []).append(where)
        for id_, nexthop in self._nexthops.items():
            path = Path(nexthop.family, nexthop.device, nexthop.gateway)
            for name, family in () if id_ in known else by_path.get(path, ()):
                self._ids.setdefault(Target(name, family, is_for_servers(id_)), id_)

    def _still_fits(self, target: Target, id_: int) -> bool:
        # a nexthop object may be replaced, but never by one of another family
        path, nexthop = self.paths.get((target.name, target.family)), self._nexthops.get(id_)
        return nexthop is not None and (path is None or path.family == nexthop.family)

    def _new_nexthops(self) -> Iterable[Change]:
        for target in self._users:
            path = self._path(target)
            if path is None:
                continue
            nexthop = Nexthop(self._id(target), *path)
            have = self._nexthops.get(nexthop.id)
            if have is None:
                yield Change(Verb.ADD, nexthop)
            elif have != nexthop:
                yield Change(Verb.REPLACE, nexthop)

    def _path(self, target: Target) -> Path | None:
        """How to reach *target*; None also where nothing should lead there."""
        if self._users[target] <= 0 or (target.name in self.shunned and not target.to_server):
            return None
        return self.paths.get((target.name, target.family))

    def _id(self, target: Target) -> int:
        if target not in self._ids:
            used = self._taken.union(self._ids.values(), self._nexthops)
            first = FIRST_NEXTHOP_ID + target.to_server
            self._ids[target] = next(i for i in itertools.count(first, 2) if i not in used)
        return self._ids[target]

    def _used_ids(self) -> dict[Target, int]:
        """The nexthop object of each target that routes can and should lead to."""
        return {t: id_ for t, id_ in self._ids.items() if self._path(t) is not None}

    def _source(self, prefix: Prefix) -> bytes | None:
        size, own = len(prefix.address), None
        for network, address in self.sources:
            if len(address) == size:
                if network.contains(prefix):
                    return address
                own = own or address
        return own

    def _succeeded(self, change: Change, now: float) -> None:
        verb, what = change
        if isinstance(what, Route):
            self._route_changed(verb, what, now)
        elif isinstance(what, Nexthop):
            self._nexthop_changed(verb, what)

    def _route_changed(self, verb: Verb, route: Route, now: float) -> None:
        prefix = route.prefix
        if verb is Verb.DELETE:
            self._installed.pop(prefix, None)
            self._since.pop(prefix, None)
        else:
            self._installed[prefix] = route
            self._since[prefix] = now
            self._refused.pop(prefix, None)

    def _nexthop_changed(self, verb: Verb, nexthop: Nexthop) -> None:
        gone = nexthop.id
        if verb is not Verb.DELETE:
            self._nexthops[gone] = nexthop
            return
        del self._nexthops[gone]
        self._ids = {t: i for t, i in self._ids.items() if i != gone}
        self._installed = {
            p: route for p, route in self._installed.items() if route.nexthop != gone
        }
        self._since = {p: at for p, at in self._since.items() if p in self._installed}

    def _failed(self, refusal: Refusal, now: float) -> set[Prefix]:
        change, what = refusal.change, refusal.change.what
        if change.verb is Verb.DELETE and refusal.errno in ALREADY_GONE:
            self._succeeded(change, now)
            return set()
        if change.verb is Verb.ADD and refusal.errno == errno.EEXIST:
            if isinstance(what, Route):
                self._refused[what.prefix] = f"a route of somebody else has metric {self.metric}"
                return set()
            if isinstance(what, Nexthop):
                return self._take_next_id(what.id)
        self.stale = True
        return set()

    def _take_next_id(self, taken: int) -> set[Prefix]:
        self._taken.add(taken)
        targets = {target for target, id_ in self._ids.items() if id_ == taken}
        self._ids = {t: i for t, i in self._ids.items() if i != taken}
        return {prefix for prefix, target in self._desired.items() if target in targets}


def _shadowed(prefix: Prefix, other: ForeignRoute) -> str:
    said = f"shadowed by a route of protocol {other.protocol} with metric {other.metric}"
    if prefix.is_host:
        return said
    # OpenVPN's own `route` for a network behind a client is such a one
    return said + "; with a route_table of its own cuberouted's would be consulted first"


def is_for_servers(nexthop_id: int) -> bool:
    """Whether routes to servers (rather than clients) go through this nexthop object."""
    return (nexthop_id - FIRST_NEXTHOP_ID) % 2 == 1


def removal(found: Installed) -> list[Change]:
    """What removes all that is ours. A nexthop object takes its routes with it."""
    orphans = [route for route in found.routes.values() if route.nexthop not in found.nexthops]
    gone: list[Nexthop | Route | StrayRoute] = [
        *found.nexthops.values(),
        *orphans,
        *found.strays,
    ]
    return [Change(Verb.DELETE, what) for what in gone]
