"""The nexthop objects: which neighbour each stands for, and which have to exist. Pure.

One object stands for one neighbour, family and role, and every route refers to one. So one
netlink message redirects or removes all routes to a peer.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import attrs

from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.types import Change, Nexthop, Op

FIRST_NEXTHOP_ID = 250_565_700
"""Our ids begin here; FRR's are below 250,000,000. Even ids carry clients, odd ones servers."""


class Target(NamedTuple):
    """Where a prefix should lead. ``name`` is the neighbour's (`neighbours.Neighbour`).

    ``to_server``: the prefix is the neighbour's own data address. It stays when the
    neighbour's clients are withdrawn, so it has a nexthop object of its own.
    """

    name: str
    family: int
    to_server: bool


@attrs.frozen
class NexthopPlan:
    """``new``: changes to make before routes change. ``unused``: objects to delete afterwards.

    ``ids``: the object's id for each target that can be reached.
    """

    ids: Mapping[Target, int]
    new: Sequence[Change]
    unused: Sequence[Nexthop]


@attrs.define
class Nexthops:
    """Our nexthop objects in the kernel, and the targets that need one."""

    _resolved: Mapping[tuple[str, int], ResolvedNexthop] = attrs.field(factory=dict, init=False)
    _installed: dict[int, Nexthop] = attrs.field(factory=dict, init=False)
    _ids: dict[Target, int] = attrs.field(factory=dict, init=False)
    _taken: set[int] = attrs.field(factory=set, init=False)
    _refcounts: Counter[Target] = attrs.field(factory=Counter, init=False)
    _suppressed: set[str] = attrs.field(factory=set, init=False)
    _plan_cache: NexthopPlan | None = attrs.field(default=None, init=False)

    # -- input --

    def resync(
        self,
        installed: Mapping[int, Nexthop],
        resolved: Mapping[tuple[str, int], ResolvedNexthop],
        taken: Iterable[int] = (),
    ) -> None:
        """Replace the mirror by a dump, and the neighbours' nexthops by *resolved*.

        *taken*: ids of nexthop objects of other processes. FRR, for one, creates an object
        again under its own name when we delete it, and keeps it even when FRR ends.
        Objects of an earlier run are matched to the target that they lead to.
        """
        self._installed, self._resolved, self._taken = dict(installed), resolved, set(taken)
        self._plan_cache = None
        self._ids = {t: i for t, i in self._ids.items() if self._still_fits(t, i)}
        known = set(self._ids.values())
        by_nexthop: dict[ResolvedNexthop, list[tuple[str, int]]] = {}
        for name_and_family, nexthop in self._resolved.items():
            by_nexthop.setdefault(nexthop, []).append(name_and_family)
        for id_, object_ in self._installed.items():
            leads_to = ResolvedNexthop(object_.family, object_.device, object_.gateway)
            for name, family in () if id_ in known else by_nexthop.get(leads_to, ()):
                self._ids.setdefault(Target(name, family, is_for_servers(id_)), id_)

    def ref(self, target: Target) -> None:
        """Count one more prefix that should lead to *target*."""
        self._refcounts[target] += 1
        if self._refcounts[target] == 1:
            self._plan_cache = None

    def unref(self, target: Target) -> None:
        """Count one prefix less."""
        self._refcounts[target] -= 1
        if not self._refcounts[target]:
            del self._refcounts[target]
            self._plan_cache = None

    def suppress(self, name: str) -> None:
        """Let no client's route lead to neighbour *name*, until `unsuppress`."""
        self._suppressed.add(name)
        self._plan_cache = None

    def unsuppress(self, name: str) -> None:
        """Let routes lead to neighbour *name* again."""
        self._suppressed.discard(name)
        self._plan_cache = None

    def changed(self, op: Op, nexthop: Nexthop) -> None:
        """The kernel has made this change."""
        self._plan_cache = None
        if op is Op.DELETE:
            del self._installed[nexthop.id]
            self._ids = {t: i for t, i in self._ids.items() if i != nexthop.id}
        else:
            self._installed[nexthop.id] = nexthop

    def id_conflict(self, id_: int) -> set[Target]:
        """Another process owns the object with this id. Return the targets that need another."""
        self._taken.add(id_)
        self._plan_cache = None
        targets = {target for target, own in self._ids.items() if own == id_}
        for target in targets:
            del self._ids[target]
        return targets

    # -- output --

    @property
    def installed(self) -> Mapping[int, Nexthop]:
        """The objects in the kernel, by id."""
        return self._installed

    def reaches(self, target: Target) -> bool:
        """Whether a prefix should lead to *target*, and can."""
        return self._nexthop(target) is not None

    def owners(self) -> dict[int, Target]:
        """The target of each object."""
        return {id_: target for target, id_ in self._ids.items()}

    def plan(self) -> NexthopPlan:
        """The changes that make the objects right."""
        if self._plan_cache is not None:
            return self._plan_cache
        new = tuple(self._new())
        ids = {t: id_ for t, id_ in self._ids.items() if self._nexthop(t) is not None}
        used = set(ids.values())
        unused = [installed for id_, installed in self._installed.items() if id_ not in used]
        plan = NexthopPlan(ids, new, unused)
        if not (plan.new or plan.unused):
            self._plan_cache = plan  # one client's route costs the same among 2 or 50 peers
        return plan

    def _new(self) -> Iterator[Change]:
        for target in self._refcounts:
            resolved = self._nexthop(target)
            if resolved is None:
                continue
            nexthop = Nexthop(self._id(target), *resolved)
            installed = self._installed.get(nexthop.id)
            if installed is None:
                yield Change(Op.ADD, nexthop)
            elif installed != nexthop:
                yield Change(Op.REPLACE, nexthop)

    def _nexthop(self, target: Target) -> ResolvedNexthop | None:
        """The nexthop to *target*; None if it is unreachable, suppressed or not needed."""
        suppressed = target.name in self._suppressed and not target.to_server
        if target not in self._refcounts or suppressed:
            return None
        return self._resolved.get((target.name, target.family))

    def _id(self, target: Target) -> int:
        if target not in self._ids:
            used = self._taken.union(self._ids.values(), self._installed)
            first = FIRST_NEXTHOP_ID + target.to_server
            self._ids[target] = next(i for i in itertools.count(first, 2) if i not in used)
        return self._ids[target]

    def _still_fits(self, target: Target, id_: int) -> bool:
        # the kernel replaces a nexthop object only by one of the same family
        resolved = self._resolved.get((target.name, target.family))
        installed = self._installed.get(id_)
        return installed is not None and (resolved is None or resolved.family == installed.family)


def is_for_servers(nexthop_id: int) -> bool:
    """Whether routes to servers' data addresses use this nexthop object, not clients' routes."""
    return (nexthop_id - FIRST_NEXTHOP_ID) % 2 == 1
