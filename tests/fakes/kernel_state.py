"""A kernel's tables in memory, and what the world does to them; see `KernelDriver`.

It behaves as tests/fakes/conformance.py says; what that leaves open is the simplest that
a test of the daemon may need.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from socket import AF_INET, AF_INET6

import attrs
import trio

from cuberouted.model import Prefix
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import (
    FAMILIES,
    LOCAL_TABLE,
    RTN_BLACKHOLE,
    RTN_UNICAST,
    Address,
    ForeignRoute,
    KernelEvents,
    Nexthop,
    Rule,
    tables_consulted,
)
from tests.fakes.kernel_driver import MAIN, STATIC

KERNEL = 2
"""RTPROT_KERNEL: the routes that come with an address."""


@attrs.define
class Device:
    """A link."""

    index: int
    point_to_point: bool
    up: bool = True
    carrier: bool = True
    addresses: list[Address] = attrs.field(factory=list)
    altnames: list[str] = attrs.field(factory=list)
    ours: set[bytes] = attrs.field(factory=set)

    @property
    def running(self) -> bool:
        """Whether packets can leave through it."""
        return self.up and self.carrier


@attrs.frozen
class Place:
    """What a kernel tells routes apart by."""

    prefix: Prefix
    table: int
    metric: int


@attrs.frozen
class Entry:
    """Anybody's route: through a device, or by a nexthop object (0: none)."""

    protocol: int
    device: int | None = None
    nexthop: int = 0
    source: bytes | None = None
    type: int = RTN_UNICAST


class FakeKernelState:
    """Links, nexthops (with their protocol), routes, rules; and what there is to tell of them."""

    def __init__(self, table: int, metric: int, protocol: int) -> None:
        self.table, self.metric, self.protocol = table, metric, protocol
        # as on every host; the routes to its addresses are in table local
        loopback = [_address("127.0.0.1/8"), _address("::1/128")]
        self.devices = {"lo": Device(1, point_to_point=False, addresses=loopback)}
        self.nexthops: dict[int, tuple[Nexthop, int]] = {}
        self.routes: dict[Place, Entry] = {}
        self.rule_list: list[Rule] = []
        self.told = trio.Event()
        self._links = self._ours = self._lost = self._rules = False
        self._changed: dict[ForeignRoute, bool] = {}
        self._indexes = itertools.count(2)  # never used twice, as in the kernel

    def add_tunnel(self, name: str) -> int:
        """See `KernelDriver`."""
        return self._add(name, point_to_point=True)

    def add_ethernet(self, name: str) -> int:
        """See `KernelDriver`."""
        return self._add(name, point_to_point=False)

    def add_altname(self, name: str, altname: str) -> None:
        """See `KernelDriver`."""
        self.devices[name].altnames.append(altname)
        self._tell(links=True)

    def set_up(self, name: str, up: bool) -> None:
        """See `KernelDriver`."""
        device = self.devices[name]
        device.up = up
        if up:
            self._connect(device, [a for a in device.addresses if a.local not in device.ours])
        else:
            device.addresses = [a for a in device.addresses if len(a.local) == 4]
            device.ours = {address for address in device.ours if len(address) == 4}
            self._lose_nexthops(device.index)
            self._lose_routes(lambda route: route.device == device.index)
        self._tell(links=True)

    def set_carrier(self, name: str, on: bool) -> None:
        """See `KernelDriver`."""
        device = self.devices[name]
        device.carrier = on
        if not on:
            self._lose_nexthops(device.index)
        self._tell(links=True)

    def remove_link(self, name: str) -> None:
        """See `KernelDriver`."""
        if name in self.devices:
            self.set_up(name, False)
            del self.devices[name]

    def add_address(self, name: str, address: str) -> None:
        """See `KernelDriver`. A point-to-point one is written `LOCAL peer OTHER/32`."""
        device = self.devices[name]
        device.addresses.append(_address(address))
        self._connect(device, device.addresses[-1:])
        self._tell(links=True)

    def remove_address(self, name: str, address: str) -> None:
        """See `KernelDriver`."""
        device, gone = self.devices[name], _address(address)
        if device.up and gone.local not in device.ours:
            self._remove(_connected(gone), KERNEL)
        self.lose_address(device, gone)

    def add_route(
        self, prefix: str, name: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """See `KernelDriver`."""
        place = Place(Prefix.parse(prefix), table, metric)
        assert place not in self.routes, f"there is a route at {place}"
        self._put(place, Entry(protocol, self.devices[name].index))

    def add_blackhole(self, prefix: str, metric: int, table: int = MAIN) -> None:
        """See `KernelDriver`."""
        place = Place(Prefix.parse(prefix), table, metric)
        self._put(place, Entry(STATIC, type=RTN_BLACKHOLE))

    def remove_route(
        self, prefix: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """See `KernelDriver`."""
        self._remove(Place(Prefix.parse(prefix), table, metric), protocol)

    def steal_route(
        self, prefix: str, name: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """See `KernelDriver`."""
        place = Place(Prefix.parse(prefix), table, metric)
        if self.routes[place].protocol == self.protocol:
            self._tell(ours=True)
        self._put(place, Entry(protocol, self.devices[name].index))

    def add_nexthop(self, id_: int, name: str, protocol: int) -> None:
        """See `KernelDriver`."""
        self._put_nexthop(Nexthop(id_, AF_INET, self.devices[name].index, None), protocol)

    def steal_nexthop(self, id_: int, name: str, protocol: int) -> None:
        """See `KernelDriver`."""
        self._put_nexthop(Nexthop(id_, AF_INET, self.devices[name].index, None), protocol)
        self._tell(ours=id_ >= FIRST_NEXTHOP_ID)

    def remove_nexthop(self, id_: int) -> None:
        """See `KernelDriver`."""
        _, protocol = self.nexthops[id_]
        self.lose_nexthop(id_)
        self._tell(ours=protocol == self.protocol)

    def add_rule(self, priority: int, table: int, protocol: int = 0) -> None:
        """See `KernelDriver`."""
        self.rule_list.append(Rule(AF_INET, priority, table, protocol))
        self._tell(ours=protocol == self.protocol, rules=protocol != self.protocol)

    def remove_rules(self, priority: int, table: int) -> None:
        """See `KernelDriver`."""
        gone = [r for r in self.rule_list if (r.priority, r.table) == (priority, table)]
        self.rule_list = [rule for rule in self.rule_list if rule not in gone]
        ours = sum(rule.protocol == self.protocol for rule in gone)
        self._tell(ours=ours > 0, rules=len(gone) > ours)

    def rules(self) -> Sequence[tuple[int, int]]:
        """See `KernelDriver`."""
        return sorted((rule.priority, rule.table) for rule in self.rule_list)

    @property
    def all_rules(self) -> list[Rule]:
        """With those that every kernel has, in the order in which it follows them."""
        by_default = ((0, LOCAL_TABLE), (32766, MAIN), (32767, 253))
        rules = [Rule(family, p, table, KERNEL) for family in FAMILIES for p, table in by_default]
        rules.remove(Rule(AF_INET6, 32767, 253, KERNEL))
        return sorted([*rules, *self.rule_list], key=lambda rule: (rule.family, rule.priority))

    def lose_notices(self) -> None:
        """What there is to tell overflows."""
        self._links = self._ours = False
        self._changed.clear()
        self._tell(lost=True)

    def lose_nexthop(self, id_: int) -> None:
        """A nexthop object goes, with its routes, and nothing is said of them."""
        del self.nexthops[id_]
        self._lose_routes(lambda route: route.nexthop == id_)

    def lose_address(self, device: Device, address: Address) -> None:
        """An address goes, and the main table's IPv4 routes that prefer it."""
        device.addresses.remove(address)
        device.ours.discard(address.local)
        if len(address.local) == 4:
            self._lose_routes(lambda r: r.source == address.local, table=MAIN)
        self._tell(links=True)

    def tell_links(self) -> None:
        """A link or an address has changed."""
        self._tell(links=True)

    def tell_all(self) -> KernelEvents:
        """What there is to tell; it is told then."""
        notices = KernelEvents(
            links=self._links,
            ours=self._ours,
            lost=self._lost,
            rules=self._rules,
            added=tuple(route for route, there in self._changed.items() if there),
            deleted=tuple(route for route, there in self._changed.items() if not there),
        )
        self._links = self._ours = self._lost = self._rules = False
        self._changed.clear()
        self.told = trio.Event()
        return notices

    def _add(self, name: str, *, point_to_point: bool) -> int:
        device = self.devices[name] = Device(next(self._indexes), point_to_point)
        self._tell(links=True)
        return device.index

    def _connect(self, device: Device, addresses: Sequence[Address]) -> None:
        for address in addresses if device.up else ():
            self._put(_connected(address), Entry(KERNEL, device.index))

    def _put(self, place: Place, entry: Entry) -> None:
        self.routes[place] = entry
        self._tell_route(place, entry, there=True)

    def _remove(self, place: Place, protocol: int) -> None:
        entry = self.routes.pop(place)
        assert entry.protocol == protocol, f"the route at {place} is protocol {entry.protocol}'s"
        self._tell_route(place, entry, there=False)

    def _put_nexthop(self, nexthop: Nexthop, protocol: int) -> None:
        self.nexthops[nexthop.id] = nexthop, protocol
        self._tell(ours=protocol == self.protocol)

    def _lose_nexthops(self, device: int) -> None:
        for id_ in [i for i, (nexthop, _) in self.nexthops.items() if nexthop.device == device]:
            self.lose_nexthop(id_)

    def _lose_routes(self, gone: Callable[[Entry], bool], table: int | None = None) -> None:
        self.routes = {
            place: entry
            for place, entry in self.routes.items()
            if table not in (None, place.table) or not gone(entry)
        }

    def _tell(
        self, *, links: bool = False, ours: bool = False, lost: bool = False, rules: bool = False
    ) -> None:
        self._links |= links
        self._ours |= ours
        self._lost |= lost
        self._rules |= rules
        if links or ours or lost or rules:
            self.told.set()

    def _tell_route(self, place: Place, entry: Entry, *, there: bool) -> None:
        if entry.protocol == self.protocol:
            self._tell(ours=True)
        elif place.table in tables_consulted(self.all_rules, self.table):
            route = foreign(place, entry)
            self._changed.pop(route, None)
            self._changed[route] = there
            self.told.set()


def foreign(place: Place, entry: Entry) -> ForeignRoute:
    """A route of somebody else's, as the daemon sees it."""
    return ForeignRoute(
        place.prefix, place.table, place.metric, entry.protocol, entry.device, entry.type
    )


def _connected(address: Address) -> Place:
    return Place(address.network, MAIN, 0 if len(address.local) == 4 else 256)


def _address(text: str) -> Address:
    local, _, other = text.partition(" peer ")
    host, _, bits = (other or local).partition("/")
    packed = Prefix.parse(host).address
    behind = len(packed) * 8 - int(bits)
    network = (int.from_bytes(packed) >> behind << behind).to_bytes(len(packed))
    return Address(Prefix.parse(local.partition("/")[0]).address, Prefix(network, int(bits)))
