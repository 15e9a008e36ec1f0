"""The kernel's routing over netlink: links, nexthop objects, routes, rules, and notices.

A shell: the messages are made and read in `routemsg`, `linkmsg` and `gathering`. What is
promised here is written in `port.KernelApi`.
"""

from __future__ import annotations

import errno
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from typing import Any, TypeVar

import trio

from cuberouted.model import Prefix
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.linux import linkmsg, routemsg
from cuberouted.routing.linux.linkmsg import Rule
from cuberouted.routing.linux.monitor import MAIN_TABLE, EventBuffer, foreign
from cuberouted.routing.linux.netlink import NetlinkMessage
from cuberouted.routing.linux.routemsg import RTM_NEWNEXTHOP, RTM_NEWROUTE, RTN_UNICAST, KernelRoute
from cuberouted.routing.linux.sockets import NetlinkMonitor, NetlinkSocket
from cuberouted.routing.types import (
    Change,
    ChangeError,
    ForeignRoute,
    KernelEvents,
    KernelState,
    Link,
    Nexthop,
    Op,
    Route,
    StrayRoute,
)

BATCH = 256
"""Changes a send: more are hardly faster, and this many refusals fit any receive buffer."""

RULE_PRIORITY = 5657
"""Consulted before the main table, whose rule has priority 32766."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)

_EMPTY = frozenset({errno.ENOENT, errno.ENODEV})
"""A dump's refusals that mean: there is no such table or device, so nothing is in it."""

_NO_SUCH_FAMILY = frozenset({errno.EOPNOTSUPP, errno.EAFNOSUPPORT})
"""What a kernel that was started without IPv6 says of it."""


T = TypeVar("T")


@asynccontextmanager
async def open_kernel(table: int, metric: int, protocol: int) -> AsyncIterator[Kernel]:
    """The kernel of the network namespace that this thread is in.

    It stays that one's if the thread moves on, since sockets belong to the namespace
    that they were made in.

    Raises:
      KernelError: no netlink socket can be had, or the kernel is older than Linux 5.3.
    """
    with ExitStack() as close:
        yield Kernel(table, metric, protocol, close)


class Kernel:
    """See `port.KernelApi`. To be had from `open_kernel`.

    Changes and dumps have a socket each, so that reading a large table of somebody
    else's does not hold up a change.
    """

    def __init__(self, table: int, metric: int, protocol: int, close: ExitStack) -> None:
        self._table, self._metric, self._protocol = table, metric, protocol
        self._changes = close.enter_context(closing(NetlinkSocket()))
        self._questions = close.enter_context(closing(NetlinkSocket()))
        self._listener = close.enter_context(closing(NetlinkMonitor(self._changes.port, protocol)))
        self._asking = trio.Lock()
        self._packers = _packers(table, metric, protocol)

    async def links(self) -> tuple[Link, ...]:
        """See `KernelApi.links`."""
        async with self._asking:
            links = await self._questions.dump(linkmsg.dump_links, linkmsg.read_link)
            addresses = await self._questions.dump(linkmsg.dump_addresses, linkmsg.read_address)
        return linkmsg.merged(links, addresses)

    async def dump(self) -> KernelState:
        """See `KernelApi.dump`."""
        async with self._asking:
            nexthops = await self._questions.dump(routemsg.dump_nexthops, self._read_nexthop)
            routes = await self._routes(self._ours, protocol=self._protocol)
        return KernelState(
            {nexthop.id: nexthop for nexthop in nexthops},
            {route.prefix: route for route in routes if isinstance(route, Route)},
            tuple(route for route in routes if isinstance(route, StrayRoute)),
        )

    async def apply(self, changes: Sequence[Change]) -> tuple[ChangeError, ...]:
        """See `KernelApi.apply`. Other tasks have their turn between batches."""
        refused: list[ChangeError] = []
        for number, batch in enumerate(_batches(changes)):
            if number:
                await trio.lowlevel.cancel_shielded_checkpoint()
            refused += self._guard(batch[0]) or self._make(batch)
        return tuple(refused)

    async def foreign_routes(self, within: Callable[[Prefix], bool]) -> tuple[ForeignRoute, ...]:
        """See `KernelApi.foreign_routes`."""

        def read(row: KernelRoute) -> ForeignRoute | None:
            return foreign(row) if not row.cloned and within(row.prefix) else None

        async with self._asking:
            return tuple(await self._routes(read, but=self._protocol, table=self._table))

    async def routes_through(self, device: int) -> tuple[Prefix, ...]:
        """See `KernelApi.routes_through`."""
        only = {"table": MAIN_TABLE, "device": device, "kind": RTN_UNICAST}
        async with self._asking:
            prefixes = await self._routes(lambda row: row.prefix, but=self._protocol, **only)
        return tuple(dict.fromkeys(prefixes))

    async def set_rules(self, present: bool) -> None:
        """See `KernelApi.set_rules`."""
        wanted = present and self._table != MAIN_TABLE
        async with self._asking:
            for family in FAMILIES:
                try:
                    ours = await self._questions.dump(
                        partial(linkmsg.dump_rules, family=family), self._read_rule
                    )
                except KernelError as error:
                    if error.errno not in _NO_SUCH_FAMILY:
                        raise
                    continue
                rule = Rule(family, RULE_PRIORITY, self._table, self._protocol)
                self._change_rules(ours, [rule] if wanted else [])

    async def events(self) -> KernelEvents:
        """See `KernelApi.events`."""
        while True:
            gathering = EventBuffer(self._table, self._metric, self._protocol)
            await self._listener.gather(gathering)
            notices = gathering.events()
            if notices is not None:
                return notices

    async def _routes(
        self, read: Callable[[KernelRoute], T | None], *, but: int = 0, **only: int
    ) -> list[T]:
        """What *read* makes of the routes, but of those that bear protocol *but*."""
        found: list[T] = []
        for family in FAMILIES:
            request = partial(routemsg.dump_routes, family=family, **only)
            reader = partial(_read_route, family, but, read)
            try:
                found += await self._questions.dump(request, reader)
            except KernelError as error:
                if error.errno not in _EMPTY | _NO_SUCH_FAMILY:
                    raise
        return found

    def _make(self, batch: Sequence[Change]) -> list[ChangeError]:
        seqs = self._changes.next_seqs(len(batch))
        packers = self._packers
        requests = [
            packers[c.op, type(c.what)](s, c.what) for s, c in zip(seqs, batch, strict=True)
        ]
        return [
            ChangeError(batch[verdict.seq - seqs.start], verdict.errno, verdict.why)
            for verdict in self._changes.change(requests, seqs)
        ]

    def _guard(self, change: Change) -> list[ChangeError]:
        # the kernel replaces and deletes a nexthop whoever owns it, so look who does
        if not _is_guarded(change) or not isinstance(change.what, Nexthop):
            return []
        answer = self._changes.ask(partial(routemsg.get_nexthop, id_=change.what.id))
        if answer.kind != RTM_NEWNEXTHOP or self._read_nexthop(answer):
            return []
        code = errno.ENOENT if change.op is Op.DELETE else errno.EEXIST
        return [ChangeError(change, code, "the nexthop of this id is somebody else's")]

    def _change_rules(self, ours: list[Rule], wanted: list[Rule]) -> None:
        seqs = self._changes.next_seqs(len(ours) + len(wanted))
        add = [partial(linkmsg.add_rule, rule=rule) for rule in wanted if rule not in ours]
        delete = [partial(linkmsg.delete_rule, rule=rule) for rule in ours if rule not in wanted]
        requests = [make(seq) for seq, make in zip(seqs, [*add, *delete], strict=False)]
        for refusal in self._changes.change(requests, seqs) if requests else ():
            raise KernelError(f"the kernel refused a rule: {refusal.said}", refusal.errno)

    def _ours(self, row: KernelRoute) -> Route | StrayRoute:
        if row.nexthop and (row.table, row.metric) == (self._table, self._metric):
            return Route(row.prefix, row.nexthop, row.source)
        return StrayRoute(row.prefix, row.table, row.metric)

    def _read_nexthop(self, message: NetlinkMessage) -> Nexthop | None:
        nexthop, protocol = routemsg.read_nexthop(message.body)
        return nexthop if protocol == self._protocol else None

    def _read_rule(self, message: NetlinkMessage) -> Rule | None:
        rule = linkmsg.read_rule(message)
        return rule if rule.protocol == self._protocol else None


def _packers(
    table: int, metric: int, protocol: int
) -> Mapping[tuple[Op, type], Callable[[int, Any], bytes]]:
    """What packs each kind of change; a kind that is missing here is no change at all."""
    routes = routemsg.RouteWriter(table, metric, protocol)
    put = partial(routemsg.write_nexthop, protocol=protocol)
    return {
        (Op.ADD, Route): routes.add,
        (Op.DELETE, Route): routes.delete,
        (Op.DELETE, StrayRoute): routes.delete_stray,
        (Op.ADD, Nexthop): partial(put, replace=False),
        (Op.REPLACE, Nexthop): partial(put, replace=True),
        (Op.DELETE, Nexthop): routemsg.delete_nexthop,
    }


def _batches(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """The changes in order, at most BATCH at once; a guarded one comes alone."""
    for guarded, same in itertools.groupby(changes, _is_guarded):
        run = list(same)
        size = 1 if guarded else BATCH
        for start in range(0, len(run), size):
            yield run[start : start + size]


def _is_guarded(change: Change) -> bool:
    return change.op is not Op.ADD and isinstance(change.what, Nexthop)


def _read_route(
    family: int, but: int, read: Callable[[KernelRoute], T | None], message: NetlinkMessage
) -> T | None:
    # a kernel without IPv6 answers a question about it with what it has
    if message.kind != RTM_NEWROUTE or message.body[0] != family:
        return None
    # the kernel cannot leave our own out, and 20,000 of them take 100 ms to read
    if but and routemsg.protocol_of(message.body) == but:
        return None
    return read(routemsg.read_route(message.body))
