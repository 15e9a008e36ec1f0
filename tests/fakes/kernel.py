"""A kernel in memory, for the daemon's tests and the simulation.

It keeps the promises of tests/fakes/conformance.py, as the real one does.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import trio

from cuberouted.model import Prefix
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import (
    FAMILIES,
    LOCAL_TABLE,
    RTN_BLACKHOLE,
    RTN_LOCAL,
    Address,
    Change,
    ChangeError,
    ForeignRoute,
    KernelEvents,
    KernelState,
    Link,
    Nexthop,
    Op,
    Route,
    RouteLookup,
    Rule,
    StrayRoute,
    our_rule,
    tables_consulted,
)
from tests.fakes.forwarding import next_hop
from tests.fakes.kernel_driver import MAIN
from tests.fakes.kernel_state import Entry, FakeKernelState, Place, foreign

BATCH = 256
"""Changes after which other tasks have their turn."""


class FakeKernel(FakeKernelState):
    """A `KernelApi`, and its own `KernelDriver`.

    ``broken``: while it is set, every question and every `apply` raises it.
    """

    broken: KernelError | None = None

    async def links(self) -> tuple[Link, ...]:
        """See `KernelApi`."""
        await self._attend()
        return tuple(
            Link(
                device.index,
                name,
                device.running,
                device.point_to_point,
                (*device.addresses,),
                (*device.altnames,),
                frozenset(device.ours),
            )
            for name, device in self.devices.items()
        )

    async def dump(self) -> KernelState:
        """See `KernelApi`."""
        await self._attend()
        return self.installed

    @property
    def installed(self) -> KernelState:
        """What `dump` would find."""
        routes, strays = {}, []
        for place, entry in self.routes.items():
            if entry.protocol != self.protocol:
                continue
            if entry.nexthop and (place.table, place.metric) == (self.table, self.metric):
                routes[place.prefix] = Route(place.prefix, entry.nexthop, entry.source)
            else:
                strays.append(StrayRoute(place.prefix, place.table, place.metric))
        nexthops = {i: n for i, (n, protocol) in self.nexthops.items() if protocol == self.protocol}
        taken = {i for i in self.nexthops if i >= FIRST_NEXTHOP_ID} - nexthops.keys()
        return KernelState(nexthops, routes, tuple(strays), frozenset(taken))

    async def apply(self, changes: Sequence[Change]) -> tuple[ChangeError, ...]:
        """See `KernelApi`."""
        refused = []
        for start in range(0, len(changes), BATCH):
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._answer()
            for change in changes[start : start + BATCH]:
                number = self._make(change)
                if number:
                    refused.append(ChangeError(change, number, ""))
        return tuple(refused)

    async def dump_rules(self) -> tuple[Rule, ...]:
        """See `KernelApi`."""
        await self._attend()
        return (*self.all_rules,)

    async def foreign_routes(
        self, wanted: Callable[[ForeignRoute], bool]
    ) -> tuple[ForeignRoute, ...]:
        """See `KernelApi`."""
        await self._attend()
        tables = tables_consulted(self.all_rules, self.table)
        return tuple(
            found
            for place, entry in self.routes.items()
            if entry.protocol != self.protocol
            and place.table in tables
            and wanted(found := foreign(place, entry))
        )

    async def lookup(
        self, destination: bytes, source: bytes | None = None, device: int = 0
    ) -> RouteLookup:
        """See `KernelApi`. Where a packet comes from makes no difference to its route here."""
        await self._attend()
        if device and all(link.index != device for link in self.devices.values()):
            return RouteLookup(None, errno.ENODEV)
        if device and source is not None and self._is_own_address(source):
            return RouteLookup(None, errno.EINVAL)
        hop = next_hop(self, destination)
        if hop is None:
            return RouteLookup(None, errno.ENETUNREACH)
        if hop.place is None:
            found = Prefix.host(destination)
            here = self._device_with(destination)
            return RouteLookup(ForeignRoute(found, LOCAL_TABLE, 0, 2, here, RTN_LOCAL))
        entry = self.routes[hop.place]
        if entry.type == RTN_BLACKHOLE:
            return RouteLookup(None, errno.EINVAL)
        nexthop, _ = self.nexthops.get(entry.nexthop, (None, 0))
        gateway = nexthop.gateway if nexthop else None
        return RouteLookup(foreign(hop.place, entry)._replace(gateway=gateway))

    async def routes_through(self, device: int) -> tuple[Prefix, ...]:
        """See `KernelApi`."""
        await self._attend()
        found = [
            place.prefix
            for place, entry in self.routes.items()
            if (place.table, entry.device) == (MAIN, device) and entry.protocol != self.protocol
        ]
        return tuple(dict.fromkeys(found))

    async def set_rules(self, present: bool) -> int:
        """See `KernelApi`."""
        await self._attend()
        before = self.rule_list
        self.rule_list = [rule for rule in self.rule_list if rule.protocol != self.protocol]
        if present and self.table != MAIN:
            self.rule_list += [our_rule(family, self.table, self.protocol) for family in FAMILIES]
        return sum(r.protocol == self.protocol and r not in before for r in self.rule_list)

    async def set_address(self, device: int, address: bytes, *, present: bool) -> None:
        """See `KernelApi`."""
        await self._attend()
        link = next((link for link in self.devices.values() if link.index == device), None)
        if link is None:
            raise KernelError("no such device", errno.ENODEV)
        wanted = Address(address, Prefix.host(address))
        if present and wanted not in link.addresses:
            link.addresses.append(wanted)
            link.ours.add(address)
            self.tell_links()
        elif not present and wanted in link.addresses:
            self.lose_address(link, wanted)

    async def events(self) -> KernelEvents:
        """See `KernelApi`."""
        await trio.lowlevel.checkpoint()
        await self.told.wait()
        return self.tell_all()

    async def _attend(self) -> None:
        await trio.lowlevel.checkpoint()
        self._answer()

    def _answer(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _make(self, change: Change) -> int:
        match change:
            case Change(Op.DELETE, Nexthop() as nexthop):
                return self._delete_nexthop(nexthop)
            case Change(op, Nexthop() as nexthop):
                return self._write_nexthop(nexthop, replace=op is Op.REPLACE)
            case Change(Op.ADD, Route() as route):
                return self._add_route(route)
            case Change(Op.DELETE, Route(prefix=prefix)):
                return self._delete_route(Place(prefix, self.table, self.metric))
            case Change(Op.DELETE, StrayRoute(prefix=prefix, table=table, metric=metric)):
                return self._delete_route(Place(prefix, table, metric))
        raise KeyError(change)

    def _write_nexthop(self, nexthop: Nexthop, *, replace: bool) -> int:
        if nexthop.id not in self.nexthops and replace:
            return errno.ENOENT
        if not self._is_free_or_ours(nexthop.id) and replace:
            return errno.EEXIST
        device = next((d for d in self.devices.values() if d.index == nexthop.device), None)
        if device is None:
            return errno.EINVAL
        if not device.running:
            return errno.ENETDOWN
        if nexthop.id in self.nexthops and not replace:
            return errno.EEXIST
        self.nexthops[nexthop.id] = nexthop, self.protocol
        return 0

    def _delete_nexthop(self, nexthop: Nexthop) -> int:
        if nexthop.id not in self.nexthops or not self._is_free_or_ours(nexthop.id):
            return errno.ENOENT
        self.lose_nexthop(nexthop.id)
        return 0

    def _is_free_or_ours(self, id_: int) -> bool:
        return id_ not in self.nexthops or self.nexthops[id_][1] == self.protocol

    def _add_route(self, route: Route) -> int:
        nexthop, _ = self.nexthops.get(route.nexthop, (None, 0))
        if nexthop is None or nexthop.family != route.prefix.family:
            return errno.EINVAL
        if route.source is not None and not self._is_own_address(route.source):
            return errno.EINVAL
        place = Place(route.prefix, self.table, self.metric)
        if place in self.routes:
            return errno.EEXIST
        self.routes[place] = Entry(self.protocol, nexthop.device, nexthop.id, route.source)
        return 0

    def _delete_route(self, place: Place) -> int:
        entry = self.routes.get(place)
        if entry is None or entry.protocol != self.protocol:
            return errno.ESRCH
        del self.routes[place]
        return 0

    def _is_own_address(self, address: bytes) -> bool:
        return self._device_with(address) is not None

    def _device_with(self, address: bytes) -> int | None:
        """The index of the device that has *address*."""
        for device in self.devices.values():
            if device.up and any(a.local == address for a in device.addresses):
                return device.index
        return None
