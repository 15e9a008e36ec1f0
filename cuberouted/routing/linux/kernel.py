"""The kernel API over rtnetlink. What it promises is in `kernel_api.KernelApi`."""

from __future__ import annotations

import errno
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from cuberouted.model import MAIN_TABLE, Prefix, format_address
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.linux import linkmsg, routemsg
from cuberouted.routing.linux.monitor import EventBuffer, foreign_route
from cuberouted.routing.linux.netlink import (
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    NetlinkMessage,
    read_ack,
)
from cuberouted.routing.linux.routemsg import KernelRoute
from cuberouted.routing.linux.sockets import NetlinkMonitor, NetlinkSocket
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import (
    FAMILIES,
    RTN_UNICAST,
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

BATCH_CHANGES = 256
"""Changes a send. More are hardly faster, and the errors of so many fit the receive buffer."""

_CAP_NET_ADMIN = 12  # linux/capability.h

_NO_SUCH_OBJECT = frozenset({errno.ENOENT, errno.ENODEV})
"""Errors of a dump whose table or device does not exist: it has no routes."""

_NO_SUCH_FAMILY = frozenset({errno.EOPNOTSUPP, errno.EAFNOSUPPORT})
"""Errors of a kernel that was started without IPv6."""

T = TypeVar("T")


@asynccontextmanager
async def open_kernel(table: int, metric: int, protocol: int) -> AsyncIterator[Kernel]:
    """The kernel of this thread's network namespace.

    It stays that namespace's if the thread enters another one, because a socket belongs to the
    namespace in which it was opened.

    Raises:
      KernelError: no netlink socket can be opened, or the kernel is older than Linux 5.3.
    """
    with ExitStack() as stack:
        yield Kernel(table, metric, protocol, stack)


def missing_capability(status: Path = Path("/proc/self/status")) -> str | None:
    """The capability that this process lacks to change routes, or None.

    *status* is the process's status file in /proc (proc(5)).
    """
    for line in status.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == "CapEff" and not int(value, 16) >> _CAP_NET_ADMIN & 1:
            return "CAP_NET_ADMIN"
    return None


class Kernel:
    """Implements `kernel_api.KernelApi`; see there. Opened by `open_kernel`.

    Changes and dumps use different sockets, so that a long dump does not delay a change.
    """

    def __init__(self, table: int, metric: int, protocol: int, stack: ExitStack) -> None:
        self._table, self._metric, self._protocol = table, metric, protocol
        self._changes = stack.enter_context(closing(NetlinkSocket()))
        self._dumps = stack.enter_context(closing(NetlinkSocket()))
        # the monitor leaves out what the socket for changes does
        self._addresses = stack.enter_context(closing(NetlinkSocket()))
        self._monitor = stack.enter_context(closing(NetlinkMonitor(self._changes.port, protocol)))
        self._dump_lock = trio.Lock()
        self._packers = _packers(table, metric, protocol)
        self._consulted = {table, MAIN_TABLE}  # whose foreign routes `events` returns

    async def links(self) -> tuple[Link, ...]:
        """See `KernelApi.links`."""
        async with self._dump_lock:
            links = await self._dumps.dump(linkmsg.dump_links, linkmsg.read_link)
            addresses = await self._dumps.dump(linkmsg.dump_addresses, linkmsg.read_address)
        return linkmsg.join(links, addresses, self._protocol)

    async def dump(self) -> KernelState:
        """See `KernelApi.dump`."""
        async with self._dump_lock:
            nexthops = await self._dumps.dump(linkmsg.dump_nexthops, linkmsg.read_nexthop)
            routes = await self._dump_routes(self._own_route, protocol=self._protocol)
        return KernelState(
            {nexthop.id: nexthop for nexthop, owner in nexthops if owner == self._protocol},
            {route.prefix: route for route in routes if isinstance(route, Route)},
            tuple(route for route in routes if isinstance(route, StrayRoute)),
            frozenset(
                nexthop.id
                for nexthop, owner in nexthops
                if owner != self._protocol and nexthop.id >= FIRST_NEXTHOP_ID
            ),
        )

    async def apply(self, changes: Sequence[Change]) -> tuple[ChangeError, ...]:
        """See `KernelApi.apply`. Other tasks run between batches."""
        errors: list[ChangeError] = []
        for number, batch in enumerate(_batches(changes)):
            if number:
                await trio.lowlevel.cancel_shielded_checkpoint()
            errors += self._check_owner(batch[0]) or self._apply_batch(batch)
        return tuple(errors)

    async def dump_rules(self) -> tuple[Rule, ...]:
        """See `KernelApi.dump_rules`."""
        async with self._dump_lock:
            rules = [r for family in FAMILIES for r in await self._dump_rules(family)]
        self._consulted.clear()
        self._consulted.update(tables_consulted(rules, self._table))
        return tuple(rules)

    async def foreign_routes(
        self, wanted: Callable[[ForeignRoute], bool]
    ) -> tuple[ForeignRoute, ...]:
        """See `KernelApi.foreign_routes`."""

        def read(route: KernelRoute) -> ForeignRoute | None:
            foreign = foreign_route(route)
            return foreign if not route.cloned and wanted(foreign) else None

        tables = tables_consulted(await self.dump_rules(), self._table)
        found: list[ForeignRoute] = []
        async with self._dump_lock:
            for table in sorted(tables):
                found += await self._dump_routes(read, exclude=self._protocol, table=table)
        return tuple(found)

    async def lookup(
        self, destination: bytes, source: bytes | None = None, device: int = 0
    ) -> RouteLookup:
        """See `KernelApi.lookup`."""
        await trio.lowlevel.checkpoint()
        request = partial(routemsg.get_route, destination=destination, source=source, device=device)
        answer = self._changes.ask(request)
        if answer.type != RTM_NEWROUTE:
            return RouteLookup(None, read_ack(answer).errno)
        found = routemsg.read_route(answer.body)
        route = foreign_route(found)
        if found.nexthop and route.device is None:  # sysctl nexthop_compat_mode is off
            reply = self._changes.ask(partial(linkmsg.get_nexthop, id_=found.nexthop))
            if reply.type == RTM_NEWNEXTHOP:
                nexthop, _ = linkmsg.read_nexthop(reply)
                route = route._replace(device=nexthop.device, gateway=nexthop.gateway)
        return RouteLookup(route)

    async def routes_through(self, device: int) -> tuple[Prefix, ...]:
        """See `KernelApi.routes_through`."""
        filters = {"table": MAIN_TABLE, "device": device, "type_": RTN_UNICAST}
        async with self._dump_lock:
            prefixes = await self._dump_routes(
                lambda route: route.prefix, exclude=self._protocol, **filters
            )
        return tuple(dict.fromkeys(prefixes))

    async def set_rules(self, present: bool) -> int:
        """See `KernelApi.set_rules`."""
        missing = 0
        wanted = present and self._table != MAIN_TABLE
        async with self._dump_lock:
            for family in FAMILIES:
                rules = await self._dump_rules(family)
                if not rules:
                    continue  # a kernel that was started without this family
                ours = [rule for rule in rules if rule.protocol == self._protocol]
                rule = our_rule(family, self._table, self._protocol)
                missing += wanted and rule not in ours
                self._change_rules(ours, [rule] if wanted else [])
        return missing

    async def set_address(self, device: int, address: bytes, *, present: bool) -> None:
        """See `KernelApi.set_address`."""
        await trio.lowlevel.checkpoint()
        seqs = self._addresses.next_seqs(1)
        request = linkmsg.set_address(seqs.start, device, address, self._protocol, present=present)
        for ack in self._addresses.change([request], seqs):
            if ack.errno != (errno.EEXIST if present else errno.EADDRNOTAVAIL):
                what = f"{'add' if present else 'remove'} {format_address(address)}"
                raise KernelError(f"the kernel refused to {what}: {ack.reason}", ack.errno)

    async def events(self) -> KernelEvents:
        """See `KernelApi.events`."""
        while True:
            buffer = EventBuffer(self._table, self._metric, self._protocol, self._consulted)
            await self._monitor.collect(buffer)
            events = buffer.events()
            if events is not None:
                return events

    async def _dump_routes(
        self, read: Callable[[KernelRoute], T | None], *, exclude: int = 0, **filters: int
    ) -> list[T]:
        """What *read* returns for the routes, without None and those with protocol *exclude*."""
        found: list[T] = []
        for family in FAMILIES:
            request = partial(routemsg.dump_routes, family=family, **filters)
            reader = partial(_read_route, family, exclude, read)
            try:
                found += await self._dumps.dump(request, reader)
            except KernelError as error:
                if error.errno not in _NO_SUCH_OBJECT | _NO_SUCH_FAMILY:
                    raise
        return found

    async def _dump_rules(self, family: int) -> list[Rule]:
        request = partial(linkmsg.dump_rules, family=family)
        try:
            return await self._dumps.dump(request, linkmsg.read_rule)
        except KernelError as error:
            if error.errno not in _NO_SUCH_FAMILY:
                raise
            return []

    def _apply_batch(self, batch: Sequence[Change]) -> list[ChangeError]:
        seqs = self._changes.next_seqs(len(batch))
        packers = self._packers
        requests = [
            packers[c.op, type(c.what)](seq, c.what) for seq, c in zip(seqs, batch, strict=True)
        ]
        return [
            ChangeError(batch[ack.seq - seqs.start], ack.errno, ack.message)
            for ack in self._changes.change(requests, seqs)
        ]

    def _check_owner(self, change: Change) -> list[ChangeError]:
        """An error if *change* would replace or delete a nexthop object that is not ours."""
        # the kernel would do it, because it compares only ids
        if not _needs_owner_check(change) or not isinstance(change.what, Nexthop):
            return []
        answer = self._changes.ask(partial(linkmsg.get_nexthop, id_=change.what.id))
        if answer.type != RTM_NEWNEXTHOP or self._read_nexthop(answer):
            return []
        code = errno.ENOENT if change.op is Op.DELETE else errno.EEXIST
        return [ChangeError(change, code, "another process owns the nexthop object with this id")]

    def _change_rules(self, ours: list[Rule], wanted: list[Rule]) -> None:
        seqs = self._changes.next_seqs(len(ours) + len(wanted))
        add = [partial(linkmsg.add_rule, rule=rule) for rule in wanted if rule not in ours]
        delete = [partial(linkmsg.delete_rule, rule=rule) for rule in ours if rule not in wanted]
        requests = [pack(seq) for seq, pack in zip(seqs, [*add, *delete], strict=False)]
        errors = self._changes.change(requests, seqs) if requests else []
        if errors:
            raise KernelError(f"the kernel refused a rule: {errors[0].reason}", errors[0].errno)

    def _own_route(self, route: KernelRoute) -> Route | StrayRoute:
        if route.nexthop and (route.table, route.metric) == (self._table, self._metric):
            return Route(route.prefix, route.nexthop, route.source)
        return StrayRoute(route.prefix, route.table, route.metric)

    def _read_nexthop(self, message: NetlinkMessage) -> Nexthop | None:
        nexthop, protocol = linkmsg.read_nexthop(message)
        return nexthop if protocol == self._protocol else None


def _packers(
    table: int, metric: int, protocol: int
) -> Mapping[tuple[Op, type], Callable[[int, Any], bytes]]:
    """What packs each kind of change. A combination that is missing here is a bug of ours."""
    routes = routemsg.RouteWriter(table, metric, protocol)
    write_nexthop = partial(linkmsg.write_nexthop, protocol=protocol)
    return {
        (Op.ADD, Route): routes.add,
        (Op.DELETE, Route): routes.delete,
        (Op.DELETE, StrayRoute): routes.delete_stray,
        (Op.ADD, Nexthop): partial(write_nexthop, replace=False),
        (Op.REPLACE, Nexthop): partial(write_nexthop, replace=True),
        (Op.DELETE, Nexthop): linkmsg.delete_nexthop,
    }


def _batches(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """The changes in order, at most BATCH_CHANGES at once; those to check come alone."""
    for alone, group in itertools.groupby(changes, _needs_owner_check):
        run = list(group)
        size = 1 if alone else BATCH_CHANGES
        for start in range(0, len(run), size):
            yield run[start : start + size]


def _needs_owner_check(change: Change) -> bool:
    return change.op is not Op.ADD and isinstance(change.what, Nexthop)


def _read_route(
    family: int, exclude: int, read: Callable[[KernelRoute], T | None], message: NetlinkMessage
) -> T | None:
    # a kernel without IPv6 answers a request for IPv6 routes with its IPv4 routes
    if message.type != RTM_NEWROUTE or message.body[0] != family:
        return None
    # the kernel has no filter that leaves our routes out, and reading 20,000 takes 100 ms
    if exclude and routemsg.protocol_of(message.body) == exclude:
        return None
    return read(routemsg.read_route(message.body))
