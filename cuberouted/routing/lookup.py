"""Where the kernel's lookup ends for a prefix: rules, foreign routes and ours together. Pure.

The kernel follows its rules in order and takes the longest match of the first table that has one,
so a match in one table wins over a longer one in a later table. Rules that are not for every
packet are left out: where those lead depends on the packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import attrs

from cuberouted.model import MAIN_TABLE, Prefix
from cuberouted.routing.types import LOCAL_TABLE, RTN_THROW, RTN_UNICAST, ForeignRoute, Rule

CHUNK_ROUTES = 1000
"""Routes that are added in one step: some milliseconds of work."""


def shortened(prefix: Prefix, length: int) -> Prefix:
    """The network of this *length* around *prefix*."""
    address = prefix.address
    shift = 8 * len(address) - length
    return Prefix((int.from_bytes(address) >> shift << shift).to_bytes(len(address)), length)


@attrs.define
class PrefixLengths:
    """The lengths of a set of prefixes, to look for the networks around another prefix."""

    _counts: dict[int, dict[int, int]] = attrs.field(factory=dict, init=False)

    def add(self, prefix: Prefix) -> None:
        """Count one more prefix."""
        address, length = prefix
        counts = self._counts.setdefault(len(address), {})
        counts[length] = counts.get(length, 0) + 1

    def remove(self, prefix: Prefix) -> None:
        """Count one prefix less."""
        address, length = prefix
        counts = self._counts[len(address)]
        counts[length] -= 1
        if not counts[length]:
            del counts[length]

    def around(self, prefix: Prefix) -> Iterator[Prefix]:
        """*prefix* and the networks around it that may be in the set, the longest first."""
        for length in sorted(self._counts.get(len(prefix.address), ()), reverse=True):
            if length == prefix.length:
                yield prefix
            elif length < prefix.length:
                yield shortened(prefix, length)


@attrs.define
class _Table:
    """The foreign routes of one table: by prefix and metric, in the kernel's order.

    The kernel takes the first one. `add` and `remove` return whether the order is still known.
    """

    routes: dict[Prefix, dict[int, tuple[ForeignRoute, ...]]] = attrs.field(
        factory=dict, init=False
    )
    lengths: PrefixLengths = attrs.field(factory=PrefixLengths, init=False)

    def append(self, route: ForeignRoute) -> None:
        """The next one of a dump."""
        metrics = self._metrics(route.prefix)
        metrics[route.metric] = (*metrics.get(route.metric, ()), route)

    def add(self, route: ForeignRoute) -> bool:
        """A new one: before others with its metric, after them, or in the place of one."""
        metrics = self._metrics(route.prefix)
        others = metrics.get(route.metric, ())
        if route in others:
            return True
        metrics[route.metric] = (route, *others)
        return not others

    def remove(self, route: ForeignRoute) -> bool:
        metrics = self.routes.get(route.prefix, {})
        found = metrics.get(route.metric, ())
        left = tuple(other for other in found if other != route)
        if left == found:
            return not found
        if left:
            metrics[route.metric] = left
            return True
        del metrics[route.metric]
        if not metrics:
            del self.routes[route.prefix]
            self.lengths.remove(route.prefix)
        return True

    def _metrics(self, prefix: Prefix) -> dict[int, tuple[ForeignRoute, ...]]:
        if prefix not in self.routes:
            self.lengths.add(prefix)
            self.routes[prefix] = {}
        return self.routes[prefix]

    def longest(self, prefix: Prefix) -> ForeignRoute | None:
        for network in self.lengths.around(prefix):
            metrics = self.routes.get(network)
            if metrics:
                return metrics[min(metrics)][0]
        return None


@attrs.define
class Lookup:
    """The rules and the foreign routes of one kernel. Ours are in *table*, with *metric*.

    *ours* returns the longest prefix around another one to which we have a route. ``uncertain``:
    routes of which it is open which one with their prefix and metric the kernel takes: a dump is
    needed.
    """

    table: int
    metric: int
    ours: Callable[[Prefix], Prefix | None]
    uncertain: set[ForeignRoute] = attrs.field(factory=set, init=False)
    _rules: dict[int, tuple[Rule, ...]] = attrs.field(factory=dict, init=False)
    _tables: dict[int, _Table] = attrs.field(factory=dict, init=False)

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """These are all rules, in the kernel's order."""
        by_family: dict[int, list[Rule]] = {}
        for rule in rules:
            if not rule.conditional and rule.table != LOCAL_TABLE:
                by_family.setdefault(rule.family, []).append(rule)
        self._rules = {family: tuple(found) for family, found in by_family.items()}

    def set_routes(self, routes: Iterable[ForeignRoute]) -> Iterator[None]:
        """These are all foreign routes that matter, as dumped. It yields so that no step is long.

        They count when the iteration has ended.
        """
        tables: dict[int, _Table] = {}
        routes = iter(routes)
        while chunk := list(islice(routes, CHUNK_ROUTES)):
            for route in chunk:
                tables.setdefault(route.table, _Table()).append(route)
            yield
        self._tables, self.uncertain = tables, set()

    def changed(self, added: Iterable[ForeignRoute], deleted: Iterable[ForeignRoute]) -> None:
        """These foreign routes came and went."""
        for route in deleted:
            if route.table in self._tables and not self._tables[route.table].remove(route):
                self._take_none(route)
        for route in added:
            if not self._tables.setdefault(route.table, _Table()).add(route):
                self._take_none(route)

    def _take_none(self, like: ForeignRoute) -> None:
        self.uncertain.update(self._tables[like.table].routes[like.prefix][like.metric])

    def routes(self) -> Iterator[ForeignRoute]:
        """The first route to each prefix in each table: the others carry nothing."""
        for table in self._tables.values():
            for metrics in table.routes.values():
                yield metrics[min(metrics)][0]

    def around(self, prefix: Prefix) -> Iterator[ForeignRoute]:
        """Every route to *prefix* or a network around it, as the kernel would take them.

        Table by table in the order of the rules, the longest first, of equal ones the lowest
        metric. Tables that only conditional rules consult come last.
        """
        rules = self._rules.get(prefix.family, ())
        for number in dict.fromkeys([*(rule.table for rule in rules), *sorted(self._tables)]):
            table = self._tables.get(number)
            for network in table.lengths.around(prefix) if table else ():
                metrics = table.routes.get(network, {}) if table else {}
                for metric in sorted(metrics):
                    yield from metrics[metric]

    def is_before_ours(self, route: ForeignRoute) -> bool:
        """Whether the table of *route* is consulted before our table."""
        tables = [rule.table for rule in self._rules.get(route.prefix.family, ())]
        own = self.table if self.table in tables else MAIN_TABLE  # our rule may be missing
        return route.table in tables[: tables.index(own)] if own in tables else False

    def is_consulted(self, route: ForeignRoute) -> bool:
        """Whether a rule leads to *route*, and does not ignore routes of its length."""
        rules = self._rules.get(route.prefix.family, ())
        return any(r.table == route.table and not _ignores(r, route.prefix) for r in rules)

    def find(self, prefix: Prefix) -> ForeignRoute | None:
        """The foreign route that all of *prefix* follows, except for longer ones inside it.

        None: a route of ours, or none at all.
        """
        for rule in self._rules.get(prefix.family, ()):
            table = self._tables.get(rule.table)
            foreign = table.longest(prefix) if table else None
            own = self.ours(prefix) if rule.table == self.table else None
            if own is not None and (foreign is None or self._wins(own, foreign)):
                return None
            if foreign is None or foreign.type == RTN_THROW or _ignores(rule, foreign.prefix):
                continue
            return foreign
        return None

    def _wins(self, own: Prefix, foreign: ForeignRoute) -> bool:
        return (own.length, -self.metric) > (foreign.prefix.length, -foreign.metric)


def _ignores(rule: Rule, prefix: Prefix) -> bool:
    return prefix.length <= rule.suppress


def leads_to(route: ForeignRoute, device: int, gateway: bytes | None) -> bool:
    """Whether packets that follow *route* leave by this *device*, to this *gateway* if any."""
    return (
        route.type == RTN_UNICAST
        and route.device == device
        and (gateway is None or route.gateway == gateway)
    )
