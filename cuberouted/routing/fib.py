"""The forwarding information base: what the kernel should hold, held against what it does.

Pure. `Fib` is told where every prefix should lead, what a scan of the kernel found, and
what became of the changes that it asked for; it answers with the next changes. Where a
target is, is the nexthop objects' business (`nexthops`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from cuberouted.model import Prefix
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.nexthops import Nexthops, Target
from cuberouted.routing.types import (
    Change,
    ChangeError,
    ForeignRoute,
    KernelState,
    Nexthop,
    Op,
    Route,
)

ALREADY_GONE = frozenset({errno.ESRCH, errno.ENOENT})


@attrs.define
class Fib:
    """The mirror of what we have in the kernel, and what we want there."""

    metric: int
    nexthops: Nexthops = attrs.field(factory=Nexthops, init=False)
    _sources: Sequence[tuple[Prefix, bytes]] = attrs.field(default=(), init=False)
    stale: bool = attrs.field(default=False, init=False)
    _installed: dict[Prefix, Route] = attrs.field(factory=dict, init=False)
    _since: dict[Prefix, float] = attrs.field(factory=dict, init=False)
    _desired: dict[Prefix, Target] = attrs.field(factory=dict, init=False)
    _refused: dict[Prefix, str] = attrs.field(factory=dict, init=False)
    _foreign: dict[Prefix, dict[tuple[int, int], ForeignRoute]] = attrs.field(
        factory=dict, init=False
    )

    # -- what is told --

    def resync(
        self,
        found: KernelState,
        paths: Mapping[tuple[str, int], ResolvedNexthop],
        sources: Sequence[tuple[Prefix, bytes]],
        now: float,
    ) -> list[Change]:
        """A dump of all that is ours: from *now* on this is what is installed.

        *paths*: where each neighbour is (`paths.paths`). *sources*: preferred source addresses
        by network (`paths.preferred_sources`). Returns what can go at once, because nothing of
        ours has that form.
        """
        self._sources = sources
        self._installed = dict(found.routes)
        self._since = {prefix: self._since.get(prefix, now) for prefix in found.routes}
        self._refused.clear()
        self.stale = False
        self.nexthops.resync(found.nexthops, paths)
        return [Change(Op.DELETE, stray) for stray in found.strays]

    def adopted(self) -> dict[Target, list[Prefix]]:
        """The installed routes by whom their nexthop stands for."""
        owners = self.nexthops.owners()
        routes: dict[Target, list[Prefix]] = {}
        for route in self._installed.values():
            if route.nexthop in owners:
                routes.setdefault(owners[route.nexthop], []).append(route.prefix)
        return routes

    def foreign_changed(
        self, added: Iterable[ForeignRoute], deleted: Iterable[ForeignRoute]
    ) -> None:
        """Routes of others in our table, inside the networks that concern us."""
        for route in deleted:
            beside = self._foreign.get(route.prefix, {})
            beside.pop((route.metric, route.protocol), None)
            if not beside:
                self._foreign.pop(route.prefix, None)
        for route in added:
            self._foreign.setdefault(route.prefix, {})[route.metric, route.protocol] = route

    def forget_foreign(self) -> None:
        """A new list of foreign routes follows."""
        self._foreign.clear()

    def set_desired(
        self, prefixes: Iterable[Prefix], target_of: Callable[[Prefix], Target | None]
    ) -> None:
        """Where these prefixes should lead from now on."""
        desired = self._desired
        for prefix in prefixes:
            old, new = desired.get(prefix), target_of(prefix)
            if old == new:
                continue
            if old is not None:
                self.nexthops.unref(old)
                del desired[prefix]
            if new is not None:
                self.nexthops.ref(new)
                desired[prefix] = new

    # -- what is to be done --

    def changes(self, prefixes: Iterable[Prefix]) -> list[Change]:
        """What makes the kernel right for these *prefixes*, in the order to do it."""
        plan = self.nexthops.plan()
        going = {nexthop.id for nexthop in plan.unused}
        routes: list[Change] = []
        desired, installed, source = self._desired.get, self._installed.get, self._source
        for prefix in prefixes:
            have, target = installed(prefix), desired(prefix)
            id_ = None if target is None else plan.ids.get(target)
            wanted = None if id_ is None else Route(prefix, id_, source(prefix))
            if have == wanted:
                continue
            # the kernel removes what is left on a nexthop together with it
            if have is not None and (wanted is not None or have.nexthop not in going):
                routes.append(Change(Op.DELETE, have))
            if wanted is not None:
                routes.append(Change(Op.ADD, wanted))
        return [*plan.new, *routes, *(Change(Op.DELETE, nexthop) for nexthop in plan.unused)]

    def tracks(self, prefix: Prefix) -> bool:
        """Whether *prefix* is wanted or installed."""
        return prefix in self._desired or prefix in self._installed

    def prefixes(self) -> set[Prefix]:
        """Every prefix that is wanted or installed."""
        return {*self._desired, *self._installed}

    def acknowledge(
        self, changes: Sequence[Change], refusals: Iterable[ChangeError], now: float
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

    def _source(self, prefix: Prefix) -> bytes | None:
        size, own = len(prefix.address), None
        for network, address in self._sources:
            if len(address) == size:
                if network.contains(prefix):
                    return address
                own = own or address
        return own

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
        else:
            self._installed[prefix] = route
            self._since[prefix] = now
            self._refused.pop(prefix, None)

    def _nexthop_changed(self, op: Op, nexthop: Nexthop) -> None:
        self.nexthops.changed(op, nexthop)
        if op is Op.DELETE:
            self._installed = {
                p: route for p, route in self._installed.items() if route.nexthop != nexthop.id
            }
            self._since = {p: at for p, at in self._since.items() if p in self._installed}

    def _failed(self, refusal: ChangeError, now: float) -> set[Prefix]:
        change, what = refusal.change, refusal.change.what
        if change.op is Op.DELETE and refusal.errno in ALREADY_GONE:
            self._succeeded(change, now)
            return set()
        if change.op is Op.ADD and refusal.errno == errno.EEXIST:
            if isinstance(what, Route):
                self._refused[what.prefix] = f"a route of somebody else has metric {self.metric}"
                return set()
            if isinstance(what, Nexthop):
                targets = self.nexthops.id_conflict(what.id)
                return {prefix for prefix, t in self._desired.items() if t in targets}
        self.stale = True
        return set()


def _shadowed(prefix: Prefix, other: ForeignRoute) -> str:
    said = f"shadowed by a route of protocol {other.protocol} with metric {other.metric}"
    if prefix.is_host:
        return said
    # OpenVPN's own `route` for a network behind a client is such a one
    return said + "; with a route_table of its own cuberouted's would be consulted first"
