"""Everything that the daemon needs of a kernel, on one page.

Two things satisfy it: `kernel.Kernel`, and the fake that the tests and the simulation
run on. What it promises is tested on both (tests/fakes/conformance.py).
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
)


class KernelError(Exception):
    """The kernel did not answer a question. Ask again later; nothing was changed by it."""

    def __init__(self, what: str, errno: int = 0) -> None:
        super().__init__(what)
        self.errno = errno


class KernelApi(Protocol):
    """A kernel's routing, seen through one table, one metric and one protocol number.

    "Ours" is what bears the protocol number, and nothing else is ever changed. Every
    method may raise KernelError. Cancelling one leaves nothing half said. One that is called
    while changes are applied may see half of them.
    """

    async def links(self) -> tuple[Link, ...]:
        """Every link, with the addresses that are ready for use."""
        ...

    async def dump(self) -> KernelState:
        """All that is ours: nexthops, the routes of our form, and strays in any table."""
        ...

    async def apply(self, changes: Sequence[Change]) -> tuple[ChangeError, ...]:
        """Makes *changes* in order, and tells those that the kernel refused.

        A refused one stops none of the others, nor does a cancellation: many changes take
        milliseconds, and half of them would be nobody's. What to expect:

        - EEXIST: an added route's prefix and metric, or a nexthop's id, is somebody's.
        - ESRCH: a route to be deleted is not there. ENOENT: nor a nexthop.
        - ENETDOWN: the nexthop's device is down or has no carrier.
        - EINVAL: no such device, no such nexthop object, or the preferred source is no
          address of ours.
        - EPERM: no CAP_NET_ADMIN (`capability.missing_capability`).

        A nexthop that somebody of another protocol has put in the place of ours is
        neither replaced (EEXIST) nor deleted (ENOENT). Deleting a nexthop deletes its
        routes, without a notice of it.
        """
        ...

    async def foreign_routes(self, within: Callable[[Prefix], bool]) -> tuple[ForeignRoute, ...]:
        """The routes in our table that are not ours, those whose prefix *within* accepts."""
        ...

    async def routes_through(self, device: int) -> tuple[Prefix, ...]:
        """What the main table sends through *device* by unicast routes that are not ours."""
        ...

    async def set_rules(self, present: bool) -> None:
        """Sees to one rule for each family that leads to our table, or to none of ours.

        The main table needs none, and gets none.
        """
        ...

    async def events(self) -> KernelEvents:
        """Waits until the kernel tells something, and gives all that it has told.

        For one task. Our own changes are left out. A link that goes down or away takes
        its nexthops and routes along. An IPv4 address that goes takes the routes of the
        main table that prefer it; other tables' and IPv6 routes stay, preferring what is
        gone. Of all this only ``links`` tells.
        """
        ...
