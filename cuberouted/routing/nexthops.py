"""The nexthop objects: whom each stands for, and which there should be.

Pure. One object stands for one neighbour, family and role, and every route names one: so
that a peer's move is one message and so is its loss.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import attrs

from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.types import Change, Nexthop, Op

FIRST_NEXTHOP_ID = 250_565_700
"""Ours begin here: FRR's own lie below 250,000,000. Even ids carry clients, odd ones servers."""


class Target(NamedTuple):
    """Where a prefix should lead. ``name`` is a neighbour's (`paths.Neighbour`).

    ``to_server``: the prefix is the neighbour's own data address, which stays when its
    clients go; so it has a nexthop object of its own.
    """

    name: str
    family: int
    to_server: bool


@attrs.frozen
class Plan:
    """What is to be done: ``new`` before routes change, the deletion of ``unused`` afterwards.

    ``ids``: the object of each target that routes can and should lead to.
    """

    ids: Mapping[Target, int]
    new: Sequence[Change]
    unused: Sequence[Nexthop]


@attrs.define
class Nexthops:
    """The mirror of our nexthop objects in the kernel."""

    _paths: Mapping[tuple[str, int], ResolvedNexthop] = attrs.field(factory=dict, init=False)
    _held: dict[int, Nexthop] = attrs.field(factory=dict, init=False)
    _ids: dict[Target, int] = attrs.field(factory=dict, init=False)
    _conflicting_ids: set[int] = attrs.field(factory=set, init=False)
    _users: Counter[Target] = attrs.field(factory=Counter, init=False)
    _suppressed: set[str] = attrs.field(factory=set, init=False)
    _plan_cache: Plan | None = attrs.field(default=None, init=False)  # nothing to do, so far

    # -- what is told --

    def resync(
        self, found: Mapping[int, Nexthop], paths: Mapping[tuple[str, int], ResolvedNexthop]
    ) -> None:
        """*found* is what we have in the kernel, and *paths* is where each neighbour is now.

        Finds out whom each object stands for.
        """
        self._held, self._paths = dict(found), paths
        self._plan_cache = None
        self._ids = {t: i for t, i in self._ids.items() if self._still_fits(t, i)}
        known = set(self._ids.values())
        by_path: dict[ResolvedNexthop, list[tuple[str, int]]] = {}
        for where, path in self._paths.items():
            by_path.setdefault(path, []).append(where)
        for id_, nexthop in self._held.items():
            path = ResolvedNexthop(nexthop.family, nexthop.device, nexthop.gateway)
            for name, family in () if id_ in known else by_path.get(path, ()):
                self._ids.setdefault(Target(name, family, is_for_servers(id_)), id_)

    def ref(self, target: Target) -> None:
        """One more prefix should lead to *target*."""
        self._users[target] += 1
        if self._users[target] == 1:
            self._plan_cache = None

    def unref(self, target: Target) -> None:
        """One prefix less."""
        self._users[target] -= 1
        if not self._users[target]:
            del self._users[target]
            self._plan_cache = None

    def suppress(self, name: str) -> None:
        """No client's route may lead to neighbour *name* from now on, whatever is wanted."""
        self._suppressed.add(name)
        self._plan_cache = None

    def unsuppress(self, name: str) -> None:
        """It may again."""
        self._suppressed.discard(name)
        self._plan_cache = None

    def changed(self, op: Op, nexthop: Nexthop) -> None:
        """The kernel has done this."""
        self._plan_cache = None
        if op is Op.DELETE:
            del self._held[nexthop.id]
            self._ids = {t: i for t, i in self._ids.items() if i != nexthop.id}
        else:
            self._held[nexthop.id] = nexthop

    def id_conflict(self, id_: int) -> set[Target]:
        """Somebody else has an object of this id. Returns who has to have another one."""
        self._conflicting_ids.add(id_)
        self._plan_cache = None
        targets = {target for target, own in self._ids.items() if own == id_}
        for target in targets:
            del self._ids[target]
        return targets

    # -- what is known --

    def owners(self) -> dict[int, Target]:
        """Whom each object stands for."""
        return {id_: target for target, id_ in self._ids.items()}

    def plan(self) -> Plan:
        """What makes them right."""
        if self._plan_cache is not None:
            return self._plan_cache
        new = tuple(self._new())
        ids = {t: id_ for t, id_ in self._ids.items() if self._path(t) is not None}
        used = set(ids.values())
        plan = Plan(ids, new, [held for id_, held in self._held.items() if id_ not in used])
        if not (plan.new or plan.unused):
            self._plan_cache = plan  # so that a client costs the same among many peers
        return plan

    def _new(self) -> Iterator[Change]:
        for target in self._users:
            path = self._path(target)
            if path is None:
                continue
            nexthop = Nexthop(self._id(target), *path)
            have = self._held.get(nexthop.id)
            if have is None:
                yield Change(Op.ADD, nexthop)
            elif have != nexthop:
                yield Change(Op.REPLACE, nexthop)

    def _path(self, target: Target) -> ResolvedNexthop | None:
        """How to reach *target*; None also where nothing should lead there."""
        if target not in self._users or (target.name in self._suppressed and not target.to_server):
            return None
        return self._paths.get((target.name, target.family))

    def _id(self, target: Target) -> int:
        if target not in self._ids:
            used = self._conflicting_ids.union(self._ids.values(), self._held)
            first = FIRST_NEXTHOP_ID + target.to_server
            self._ids[target] = next(i for i in itertools.count(first, 2) if i not in used)
        return self._ids[target]

    def _still_fits(self, target: Target, id_: int) -> bool:
        # a nexthop object may be replaced, but never by one of another family
        path, nexthop = self._paths.get((target.name, target.family)), self._held.get(id_)
        return nexthop is not None and (path is None or path.family == nexthop.family)


def is_for_servers(nexthop_id: int) -> bool:
    """Whether routes to servers (rather than clients) go through this nexthop object."""
    return (nexthop_id - FIRST_NEXTHOP_ID) % 2 == 1
