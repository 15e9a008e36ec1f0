"""What rtnetlink notifies: a filter for the socket, and a buffer that collects events.

Pure: bytes in, `KernelEvents` out. The filter runs in the kernel and drops most of what the
buffer would ignore: a batch of our own changes causes 20,000 notifications, which would overflow
the socket and tell nothing new.
"""

from __future__ import annotations

import struct
from collections.abc import Container

from cuberouted.routing.linux.linkmsg import read_nexthop, read_rule
from cuberouted.routing.linux.netlink import (
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEXTHOP,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    NetlinkError,
    NetlinkMessage,
    messages,
)
from cuberouted.routing.linux.routemsg import RTM_F_CLONED, KernelRoute, read_route
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import LOCAL_TABLE, ForeignRoute, KernelEvents

_LINKS = frozenset({RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR})
_NEXTHOPS = frozenset({RTM_NEWNEXTHOP, RTM_DELNEXTHOP})
_ROUTES = frozenset({RTM_NEWROUTE, RTM_DELROUTE})
_RULES = frozenset({RTM_NEWRULE, RTM_DELRULE})


class EventBuffer:
    """Collects notifications into one `KernelEvents`.

    If a route was added and deleted meanwhile, or the reverse, the last notification counts.
    *consulted*: the tables whose foreign routes matter.
    """

    def __init__(self, table: int, metric: int, protocol: int, consulted: Container[int]) -> None:
        self._table, self._metric, self._protocol = table, metric, protocol
        self._consulted = consulted
        self._links = self._ours = self._lost = self._rules = False
        self._routes: dict[ForeignRoute, bool] = {}

    def overflowed(self) -> None:
        """The kernel has dropped notifications."""
        self._lost = True

    def receive(self, data: bytes) -> None:
        """Add the notifications of one receive. One that cannot be decoded counts as lost."""
        try:
            for message in messages(data):
                self._add(message)
        except NetlinkError:
            self._lost = True

    def events(self) -> KernelEvents | None:
        """Everything collected, or None if nothing of it matters."""
        events = KernelEvents(
            links=self._links,
            ours=self._ours,
            lost=self._lost,
            rules=self._rules,
            added=tuple(route for route, exists in self._routes.items() if exists),
            deleted=tuple(route for route, exists in self._routes.items() if not exists),
        )
        return None if events == KernelEvents() else events

    def _add(self, message: NetlinkMessage) -> None:
        if message.type in _LINKS:
            self._links = True
        elif message.type in _NEXTHOPS:
            self._add_nexthop(message)
        elif message.type in _ROUTES:
            self._add_route(message, read_route(message.body))
        elif message.type in _RULES:
            ours = read_rule(message).protocol == self._protocol
            self._ours, self._rules = self._ours or ours, self._rules or not ours

    def _add_nexthop(self, message: NetlinkMessage) -> None:
        nexthop, protocol = read_nexthop(message)
        # a replace may have overwritten one of ours, because the kernel ignores the owner
        may_replace_ours = message.flags & NLM_F_REPLACE and nexthop.id >= FIRST_NEXTHOP_ID
        if protocol == self._protocol or may_replace_ours:
            self._ours = True

    def _add_route(self, message: NetlinkMessage, route: KernelRoute) -> None:
        if route.protocol == self._protocol:
            self._ours = True
        elif route.table in self._consulted and not route.cloned:
            replaces = message.type == RTM_NEWROUTE and message.flags & NLM_F_REPLACE
            if replaces and (route.table, route.metric) == (self._table, self._metric):
                self._ours = True
            foreign = foreign_route(route)
            self._routes.pop(foreign, None)
            self._routes[foreign] = message.type == RTM_NEWROUTE


def foreign_route(route: KernelRoute) -> ForeignRoute:
    """The fields of a route that is not ours that the rest of the program needs."""
    return ForeignRoute(
        route.prefix,
        route.table,
        route.metric,
        route.protocol,
        route.device,
        route.type,
        route.gateway,
    )


# -- the filter --

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_IF_EQUAL, _IF_SET, _RETURN = 0x15, 0x45, 0x06
_TYPE, _PORT = 4, 12  # offsets in struct nlmsghdr
_TABLE, _PROTOCOL, _FLAGS = 16 + 4, 16 + 5, 16 + 8  # offsets in struct rtmsg behind it
_INSTRUCTION = struct.Struct("=HBBI")

INSTRUCTION_SIZE = _INSTRUCTION.size
"""Bytes of one instruction of `own_changes_filter`."""


def own_changes_filter(port: int, protocol: int) -> bytes:
    """A classic BPF program, as an array of struct sock_filter, for a monitoring socket.

    It drops what the socket with *port* has caused, routes of table local, and cached routes.
    It also drops the deletions of routes of *protocol* that the kernel makes by itself: it
    notifies them, for IPv6 alone, for every route of a deleted nexthop object, and the
    notification of that object, link or address suffices.

    Source: the kernel's Documentation/networking/filter.rst.
    """
    keep, drop = 15, 16
    instructions = (
        (_LOAD_WORD, _PORT, 1, 1),
        (_IF_EQUAL, _as_loaded(port, "=I"), drop, 2),
        (_LOAD_HALF, _TYPE, 3, 3),
        (_IF_EQUAL, _as_loaded(RTM_NEWROUTE, "=H"), 5, 4),
        (_IF_EQUAL, _as_loaded(RTM_DELROUTE, "=H"), 5, keep),
        (_LOAD_BYTE, _TABLE, 6, 6),
        (_IF_EQUAL, LOCAL_TABLE, drop, 7),
        (_LOAD_WORD, _FLAGS, 8, 8),
        (_IF_SET, _as_loaded(RTM_F_CLONED, "=I"), drop, 9),
        (_LOAD_HALF, _TYPE, 10, 10),
        (_IF_EQUAL, _as_loaded(RTM_DELROUTE, "=H"), 11, keep),
        (_LOAD_BYTE, _PROTOCOL, 12, 12),
        (_IF_EQUAL, protocol, 13, keep),
        (_LOAD_WORD, _PORT, 14, 14),
        (_IF_EQUAL, 0, drop, keep),
        (_RETURN, 0xFFFFFFFF, 16, 16),
        (_RETURN, 0, 17, 17),
    )
    return b"".join(
        # jumps are relative to the following instruction; loads and returns have zero there
        _INSTRUCTION.pack(code, if_true - at - 1, if_false - at - 1, value)
        for at, (code, value, if_true, if_false) in enumerate(instructions)
    )


def _as_loaded(value: int, layout: str) -> int:
    """A number in host byte order as BPF loads it, which is in network byte order."""
    return int.from_bytes(struct.pack(layout, value))
