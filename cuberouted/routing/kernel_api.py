"""Everything that the daemon needs of a kernel, on one page.

Two classes implement it: `linux.kernel.Kernel`, and the fake on which the unit tests and the
simulation run. Both have to pass the tests in tests/fakes/conformance.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cuberouted.model import Prefix
from cuberouted.routing.types import (
    Change,
    ChangeError,
    ForeignRoute,
    KernelEvents,
    KernelState,
    Link,
    RouteLookup,
    Rule,
)


class KernelError(Exception):
    """A request to the kernel failed as a whole; try again later.

    ``errno`` is the kernel's, or 0.
    """

    def __init__(self, what: str, errno: int = 0) -> None:
        super().__init__(what)
        self.errno = errno


class KernelApi(Protocol):
    """A kernel's routing, limited to one table, one metric and one protocol number.

    "Ours" is what bears the protocol number; nothing else is ever changed. Every method may
    raise KernelError. A cancelled call leaves no request half sent. A call that runs while
    changes are applied may see some of them.
    """

    async def links(self) -> tuple[Link, ...]:
        """Every link, with the addresses that are ready for use."""
        ...

    async def dump(self) -> KernelState:
        """Everything that is ours: nexthop objects, routes, and stray routes of any table.

        And the nexthop ids that others have taken.
        """
        ...

    async def apply(self, changes: Sequence[Change]) -> tuple[ChangeError, ...]:
        """Make *changes* in order. Return those that the kernel refused.

        All changes are made even if one is refused or the call is cancelled: they take
        milliseconds, and a half-applied batch would have no owner. Errors to expect:

        - EEXIST: a route with that prefix and metric, or a nexthop with that id, exists.
        - ESRCH: the route to delete does not exist. ENOENT: the nexthop does not exist.
        - ENETDOWN: the nexthop's device is down or has no carrier.
        - EINVAL: no such device, no such nexthop object, or the preferred source is not an
          address of this host.
        - EPERM: CAP_NET_ADMIN is missing (`linux.kernel.missing_capability`).

        A nexthop object of another protocol is neither replaced (EEXIST) nor deleted (ENOENT).
        Deleting a nexthop object deletes its routes, without a notification.
        """
        ...

    async def dump_rules(self) -> tuple[Rule, ...]:
        """Every rule, in the order in which the kernel follows those of one family."""
        ...

    async def foreign_routes(
        self, wanted: Callable[[ForeignRoute], bool]
    ) -> tuple[ForeignRoute, ...]:
        """The routes that are not ours and that *wanted* accepts, of `types.tables_consulted`."""
        ...

    async def lookup(
        self, destination: bytes, source: bytes | None = None, device: int = 0
    ) -> RouteLookup:
        """What the kernel does with a packet to *destination*.

        Of this host, or if *device* is given: that came in there, from *source*. A change under
        way may be seen or not.
        """
        ...

    async def routes_through(self, device: int) -> tuple[Prefix, ...]:
        """The prefixes of the main table's unicast routes through *device* that are not ours."""
        ...

    async def set_rules(self, present: bool) -> int:
        """Make sure that one rule a family leads to our table, or that none of ours exists.

        The main table needs no rule and gets none. The rule ignores default routes
        (`types.our_rule`); one of ours that is different is replaced. Return the number of
        rules that were missing.
        """
        ...

    async def set_address(self, device: int, address: bytes, *, present: bool) -> None:
        """Make sure that the packed *address* is, or is not, on *device*, as a host address.

        It bears our protocol number (IFA_PROTO), needs no duplicate address detection, and brings
        no route but that of table local. An IPv6 one is deprecated, so that connections of this
        host itself begin from others. `events` tells of it, as of any address. A kernel before
        Linux 5.18 ignores the number: there `Link.ours` is empty, and only configured addresses
        are known as ours. Not an error: it is there already, whoever has added it, or there is
        none to remove.

        Raises:
          KernelError: ENODEV: no such device. EPERM: CAP_NET_ADMIN is missing.
        """
        ...

    async def events(self) -> KernelEvents:
        """Wait for notifications, and return all that have come. One task at a time.

        Changes made by `apply` are left out. Foreign routes are those of the tables that the
        last `dump_rules` or `foreign_routes` has found to be consulted. When a link goes down or
        away, the kernel removes its nexthop objects and routes. When an IPv4 address goes, the
        kernel removes the main table's routes that prefer it as their source; routes in other
        tables and IPv6 routes stay. For all of these only ``links`` is set.
        """
        ...
