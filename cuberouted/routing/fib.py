"""The forwarding information base: compares desired routes with those installed in the kernel.

Pure. `Fib` is given the target of every prefix, the dumps of the kernel and the outcome of the
changes that it asked for, and returns the next changes. The nexthop objects that routes refer
to are in `nexthops`.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

import attrs

from cuberouted.events import RouteTrace
from cuberouted.model import Prefix
from cuberouted.routing.lookup import PrefixLengths
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.nexthops import Nexthops, Target
from cuberouted.routing.types import (
    Change,
    ChangeError,
    KernelState,
    Nexthop,
    Op,
    Route,
)

ALREADY_GONE = frozenset({errno.ESRCH, errno.ENOENT})
"""Errors of a deletion whose object does not exist any more."""

LOST = "by another program, or with its interface"
"""Why a dump does not have a route that we have installed."""

_LENGTH = attrgetter("length")


class Trace(NamedTuple):
    """What became of a route in the kernel.

    ``what`` is None if it is no longer refused. ``to``: its target; None if it has none, or an
    unknown one.
    """

    prefix: Prefix
    what: RouteTrace | None
    to: Target | None = None
    why: str = ""


@attrs.define
class Fib:
    """The mirror of our routes in the kernel, and the routes that should be there."""

    metric: int
    nexthops: Nexthops = attrs.field(factory=Nexthops, init=False)
    out_of_sync: bool = attrs.field(default=False, init=False)
    """Whether the kernel differs from the mirror, so that it has to be dumped again."""
    traces: deque[Trace] = attrs.field(factory=deque, init=False)
    """What became of the routes, oldest first; whoever reports it takes it out."""
    _sources: Sequence[tuple[Prefix, bytes]] = attrs.field(default=(), init=False)
    _installed: dict[Prefix, Route] = attrs.field(factory=dict, init=False)
    _since: dict[Prefix, float] = attrs.field(factory=dict, init=False)
    _desired: dict[Prefix, Target] = attrs.field(factory=dict, init=False)
    _refused: dict[Prefix, str] = attrs.field(factory=dict, init=False)
    _lengths: PrefixLengths = attrs.field(factory=PrefixLengths, init=False)  # of the desired ones

    # -- input --

    def resync(
        self,
        state: KernelState,
        resolved: Mapping[tuple[str, int], ResolvedNexthop],
        sources: Sequence[tuple[Prefix, bytes]],
        now: float,
    ) -> list[Change]:
        """Replace the mirror by a dump of the kernel taken at *now* (monotonic seconds).

        *resolved*: the neighbours' nexthops (`neighbours.resolve`). *sources*: preferred source
        addresses by network (`neighbours.preferred_sources`). Return the deletions of stray
        routes, which can be made at once.
        """
        before, self._installed = self._installed, dict(state.routes)
        self._sources = sources
        self._since = {prefix: self._since.get(prefix, now) for prefix in state.routes}
        self._refused.clear()
        self.out_of_sync = False
        self.nexthops.resync(state.nexthops, resolved, state.taken)
        self._trace_differences(before)
        return [Change(Op.DELETE, stray) for stray in state.strays]

    def adopted(self) -> dict[Target, list[Prefix]]:
        """The installed routes by the target of their nexthop object."""
        owners = self.nexthops.owners()
        routes: dict[Target, list[Prefix]] = {}
        for route in self._installed.values():
            if route.nexthop in owners:
                routes.setdefault(owners[route.nexthop], []).append(route.prefix)
        return routes

    def set_desired(self, targets: Iterable[tuple[Prefix, Target | None]]) -> None:
        """From now on each of these prefixes should lead to its target; None: nowhere."""
        desired = self._desired
        for prefix, new in targets:
            old = desired.get(prefix)
            if old == new:
                continue
            if old is not None:
                self.nexthops.unref(old)
                del desired[prefix]
                self._lengths.remove(prefix)
            if new is not None:
                self.nexthops.ref(new)
                desired[prefix] = new
                self._lengths.add(prefix)

    def acknowledge(
        self, changes: Sequence[Change], errors: Iterable[ChangeError], now: float
    ) -> set[Prefix]:
        """The kernel has made *changes* at *now*, except for *errors*.

        Return the prefixes for which `changes` has to be called again. Sets ``out_of_sync``
        if an error shows that the kernel is not as mirrored.
        """
        failed = {error.change: error for error in errors}
        retry: set[Prefix] = set()
        for change in changes:
            error = failed.get(change) if failed else None
            if error is None:
                self._succeeded(change, now)
            else:
                retry |= self._failed(error, now)
        return retry

    # -- output --

    def changes(self, prefixes: Iterable[Prefix]) -> list[Change]:
        """What makes the routes of *prefixes* right, after new nexthop objects, in order.

        When it is done for all prefixes, `unused_nexthops` has the rest.
        """
        plan = self.nexthops.plan()
        going = {nexthop.id for nexthop in plan.unused}
        routes: list[Change] = []
        desired, installed, source = self._desired.get, self._installed.get, self._source
        for prefix in prefixes:
            have, target = installed(prefix), desired(prefix)
            id_ = None if target is None else plan.ids.get(target)
            want = None if id_ is None else Route(prefix, id_, source(prefix))
            if have == want:
                continue
            # the kernel deletes the routes that are left on a nexthop object together with it; a
            # network goes before, in order: local prefixes inside it may be left on another one
            if have is not None and (
                want is not None or have.nexthop not in going or not prefix.is_host
            ):
                routes.append(Change(Op.DELETE, have))
            if want is not None:
                routes.append(Change(Op.ADD, want))
        return [*plan.new, *routes]

    def unused_nexthops(self) -> list[Change]:
        """The deletion of the nexthop objects that no route should use, with their routes."""
        return [Change(Op.DELETE, nexthop) for nexthop in self.nexthops.plan().unused]

    def tracks(self, prefix: Prefix) -> bool:
        """Whether a route to *prefix* is desired or installed."""
        return prefix in self._desired or prefix in self._installed

    def prefixes(self) -> Sequence[Prefix]:
        """Every prefix with a desired or installed route, the longest first.

        In this order no packet follows a route to a network while a longer one is missing.
        """
        return sorted({*self._desired, *self._installed}, key=_LENGTH, reverse=True)

    @property
    def desired_count(self) -> int:
        """Number of desired routes."""
        return len(self._desired)

    @property
    def installed_count(self) -> int:
        """Number of installed routes."""
        return len(self._installed)

    @property
    def installed(self) -> Mapping[Prefix, Route]:
        """The installed routes. `resync` replaces this mapping by another."""
        return self._installed

    def installed_since(self) -> Mapping[Prefix, float]:
        """When each route was installed, in monotonic seconds."""
        return self._since

    def refused(self) -> Mapping[Prefix, str]:
        """The routes that the kernel has refused because of a foreign one, and why."""
        return self._refused

    def longest(self, prefix: Prefix) -> Prefix | None:
        """The longest prefix around *prefix* whose route should lead somewhere, and can."""
        for network in self._lengths.around(prefix):
            target = self._desired.get(network)
            if target is not None and self.nexthops.reaches(target):
                return network
        return None

    def _source(self, prefix: Prefix) -> bytes | None:
        size, same_family = len(prefix.address), None
        for network, address in self._sources:
            if len(address) == size:
                if network.contains(prefix):
                    return address
                same_family = same_family or address
        return same_family

    def _succeeded(self, change: Change, now: float) -> None:
        op, what = change
        if isinstance(what, Route):
            self._route_changed(op, what, now)
        elif isinstance(what, Nexthop):
            self._nexthop_changed(op, what)

    def _route_changed(self, op: Op, route: Route, now: float) -> None:
        prefix = route.prefix
        if op is Op.DELETE:
            self._installed.pop(prefix, None)
            self._since.pop(prefix, None)
            self.traces.append(Trace(prefix, RouteTrace.REMOVED))
        else:
            # a moved route is a deletion and an addition in one batch; where the deletion has
            # failed, the route had gone without notice
            known = prefix in self._installed
            deleted = self.traces and self.traces[-1] == (prefix, RouteTrace.REMOVED, None, "")
            if deleted:
                self.traces.pop()
            self._installed[prefix] = route
            self._since[prefix] = now
            self._refused.pop(prefix, None)
            what = RouteTrace.MOVED if known or deleted else RouteTrace.ADDED
            self.traces.append(Trace(prefix, what, self._desired.get(prefix)))

    def _nexthop_changed(self, op: Op, nexthop: Nexthop) -> None:
        self.nexthops.changed(op, nexthop)
        if op is Op.DELETE:
            gone = [p for p, route in self._installed.items() if route.nexthop == nexthop.id]
            for prefix in gone:
                del self._installed[prefix]
                del self._since[prefix]
                self.traces.append(Trace(prefix, RouteTrace.REMOVED))

    def _trace_differences(self, before: Mapping[Prefix, Route]) -> None:
        """Trace what a dump shows and the mirror did not."""
        installed, owners = self._installed, self.nexthops.owners()
        if before:
            self.traces.extend(
                Trace(prefix, RouteTrace.REMOVED, None, LOST)
                for prefix in before
                if prefix not in installed
            )
        self.traces.extend(
            Trace(prefix, RouteTrace.ADOPTED, owners.get(route.nexthop))
            for prefix, route in installed.items()
            if prefix not in before
        )

    def _failed(self, error: ChangeError, now: float) -> set[Prefix]:
        op, what = error.change
        if op is Op.DELETE and error.errno in ALREADY_GONE:
            self._succeeded(error.change, now)
            return set()
        if op is Op.ADD and error.errno == errno.EEXIST:
            # our own route is in the way of ours if its deletion has failed
            if isinstance(what, Route) and what.prefix not in self._installed:
                self._refused[what.prefix] = f"a foreign route has our metric {self.metric}"
                return set()
            if isinstance(what, Nexthop):
                targets = self.nexthops.id_conflict(what.id)
                return {prefix for prefix, t in self._desired.items() if t in targets}
        self.out_of_sync = True
        return set()
