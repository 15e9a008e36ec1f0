"""What the kernel tells unasked, gathered into one value.

Pure: bytes in, `KernelEvents` out. The socket's filter (`echofilter`) keeps most of what is
left out here from coming at all.
"""

from __future__ import annotations

from cuberouted.routing.linux.linkmsg import RTM_DELRULE, RTM_NEWRULE, read_rule
from cuberouted.routing.linux.netlink import (
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    NetlinkError,
    NetlinkMessage,
    messages,
)
from cuberouted.routing.linux.routemsg import (
    RTM_DELNEXTHOP,
    RTM_DELROUTE,
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    KernelRoute,
    read_nexthop,
    read_route,
)
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import ForeignRoute, KernelEvents

MAIN_TABLE = 254

_LINKS = frozenset({RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR})
_NEXTHOPS = frozenset({RTM_NEWNEXTHOP, RTM_DELNEXTHOP})
_ROUTES = frozenset({RTM_NEWROUTE, RTM_DELROUTE})
_RULES = frozenset({RTM_NEWRULE, RTM_DELRULE})


class EventBuffer:
    """Takes what the kernel tells, and gives it as one `KernelEvents`.

    Of a route that came and went, or went and came, the last word counts.
    """

    def __init__(self, table: int, metric: int, protocol: int) -> None:
        self._table, self._metric, self._protocol = table, metric, protocol
        self._tables = {table, MAIN_TABLE}
        self._links = self._ours = self._lost = False
        self._routes: dict[ForeignRoute, bool] = {}

    def overflowed(self) -> None:
        """The kernel had to drop some of what it wanted to tell."""
        self._lost = True

    def take(self, data: bytes) -> None:
        """What one receive gave. A message that cannot be read counts as lost."""
        try:
            for message in messages(data):
                self._take(message)
        except NetlinkError:
            self._lost = True

    def events(self) -> KernelEvents | None:
        """All that was taken; None if nothing of it concerns us."""
        notices = KernelEvents(
            links=self._links,
            ours=self._ours,
            lost=self._lost,
            added=tuple(route for route, there in self._routes.items() if there),
            deleted=tuple(route for route, there in self._routes.items() if not there),
        )
        return None if notices == KernelEvents() else notices

    def _take(self, message: NetlinkMessage) -> None:
        if message.kind in _LINKS:
            self._links = True
        elif message.kind in _NEXTHOPS:
            self._take_nexthop(message)
        elif message.kind in _ROUTES:
            self._take_route(message, read_route(message.body))
        elif message.kind in _RULES and read_rule(message).protocol == self._protocol:
            self._ours = True

    def _take_nexthop(self, message: NetlinkMessage) -> None:
        nexthop, protocol = read_nexthop(message.body)
        # a replace does not respect owners: it may have been one of ours
        stolen = message.flags & NLM_F_REPLACE and nexthop.id >= FIRST_NEXTHOP_ID
        if protocol == self._protocol or stolen:
            self._ours = True

    def _take_route(self, message: NetlinkMessage, row: KernelRoute) -> None:
        if row.protocol == self._protocol:
            self._ours = True
        elif row.table in self._tables and not row.cloned:
            replaces = message.kind == RTM_NEWROUTE and message.flags & NLM_F_REPLACE
            if replaces and (row.table, row.metric) == (self._table, self._metric):
                self._ours = True
            route = foreign(row)
            self._routes.pop(route, None)
            self._routes[route] = message.kind == RTM_NEWROUTE


def foreign(row: KernelRoute) -> ForeignRoute:
    """A row that is not ours, as the other rooms see it."""
    return ForeignRoute(row.prefix, row.table, row.metric, row.protocol, row.device)
