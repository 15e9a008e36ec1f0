"""Values that describe the kernel's side: links, nexthop objects, routes, and changes to them.

They pass between the pure `fib` and the kernel API. Addresses are packed bytes. Devices are
interface indexes, because a device that is deleted and created again under the same name is
another device to the kernel.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import attrs

from cuberouted.model import Prefix

RTN_UNICAST, RTN_LOCAL, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW = 1, 2, 6, 7, 8, 9
"""Types of routes (linux/rtnetlink.h)."""

LOCAL_TABLE = 255
"""RT_TABLE_LOCAL: the host's own addresses."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Address(NamedTuple):
    """An address of this host on a link.

    ``local`` is the address itself. ``network`` is the prefix that the kernel reaches through
    it: the subnet, or on a point-to-point link the address of the other end.
    """

    local: bytes
    network: Prefix


@attrs.frozen
class Link:
    """A network interface. ``running``: administratively up, and with a carrier.

    ``altnames``: its alternative names (``ip link property add``), which may be configured too.
    ``ours``: those of its addresses, packed, that bear our protocol number
    (`KernelApi.set_address`); none with a kernel before Linux 5.18.
    """

    index: int
    name: str
    running: bool
    point_to_point: bool
    addresses: tuple[Address, ...]
    altnames: tuple[str, ...] = ()
    ours: frozenset[bytes] = frozenset()


def links_by_name(links: Iterable[Link]) -> dict[str, Link]:
    """Every link by its name and its alternative names. No two links have the same name."""
    return {name: link for link in links for name in (link.name, *link.altnames)}


class Nexthop(NamedTuple):
    """A nexthop object. ``gateway`` is packed; None: the device alone suffices."""

    id: int
    family: int
    device: int
    gateway: bytes | None


class Route(NamedTuple):
    """A route of ours: our table, metric and protocol, through nexthop object ``nexthop``.

    ``source`` is the preferred source address (RTA_PREFSRC), packed, or None.
    """

    prefix: Prefix
    nexthop: int
    source: bytes | None


class StrayRoute(NamedTuple):
    """A route with our protocol that we would not install: other table, metric, or no nexthop."""

    prefix: Prefix
    table: int
    metric: int


class ForeignRoute(NamedTuple):
    """A route that is not ours. ``device`` is None where the route has none, or several.

    ``type``: RTN_UNICAST or another type of linux/rtnetlink.h. ``gateway`` is packed, or None.
    """

    prefix: Prefix
    table: int
    metric: int
    protocol: int
    device: int | None
    type: int = RTN_UNICAST
    gateway: bytes | None = None


class RouteLookup(NamedTuple):
    """What the kernel does with one packet. ``route``: the route that it follows, whoever's it is.

    Without one ``errno`` is the kernel's: ENETUNREACH: no route. EHOSTUNREACH: an unreachable
    route, or forwarding is off. EACCES: a prohibit route. EINVAL: a blackhole. EXDEV: reverse
    path filtering rejects the packet.
    """

    route: ForeignRoute | None
    errno: int = 0


class Rule(NamedTuple):
    """A policy rule that makes the kernel consult ``table``.

    ``conditional``: not for every packet, or it does something else than that. ``suppress``:
    routes whose prefix has this length or less are ignored (ip-rule(8), suppress_prefixlength);
    -1: none. ``text``: what a conditional one selects, or does instead, as `ip rule` prints it.
    """

    family: int
    priority: int
    table: int
    protocol: int
    suppress: int = -1
    conditional: bool = False
    text: str = ""


RULE_PRIORITY = 5657
"""The priority of ours: before the rule of the main table, which has 32766."""


def our_rule(family: int, table: int, protocol: int) -> Rule:
    """The rule that leads to our table.

    It ignores a default route there: the whole host's traffic would follow it, that of the
    tunnels included.
    """
    return Rule(family, RULE_PRIORITY, table, protocol, suppress=0)


def tables_consulted(rules: Iterable[Rule], ours: int) -> frozenset[int]:
    """The tables that the kernel consults for every packet, and *ours*; not table local."""
    consulted = {rule.table for rule in rules if not rule.conditional}
    return frozenset((consulted | {ours}) - {LOCAL_TABLE})


@attrs.frozen
class KernelState:
    """What one dump found of ours: nexthop objects by id, routes by prefix, stray routes.

    ``taken``: the ids from FIRST_NEXTHOP_ID on that nexthop objects of other processes have.
    """

    nexthops: Mapping[int, Nexthop]
    routes: Mapping[Prefix, Route]
    strays: tuple[StrayRoute, ...] = ()
    taken: frozenset[int] = frozenset()


class Op(enum.StrEnum):
    """A kind of change. ADD never replaces (NLM_F_EXCL); REPLACE is for nexthop objects alone."""

    ADD = "add"
    REPLACE = "replace"
    DELETE = "delete"


class Change(NamedTuple):
    """One change to make in the kernel."""

    op: Op
    what: Nexthop | Route | StrayRoute


class ChangeError(NamedTuple):
    """A change that the kernel refused.

    ``errno`` is the kernel's; ``message`` its extended acknowledgement, or empty.
    """

    change: Change
    errno: int
    message: str


@attrs.frozen
class KernelEvents:
    """What rtnetlink has notified since the last time, without what `KernelApi.apply` did.

    ``links``: a link or an address changed. ``ours``: another process changed a route,
    nexthop object or rule that bears our protocol. ``lost``: notifications were lost, so
    that anything may have changed. ``rules``: a rule that is not ours came or went.
    ``added``, ``deleted``: foreign routes, oldest first.
    """

    links: bool = False
    ours: bool = False
    lost: bool = False
    rules: bool = False
    added: tuple[ForeignRoute, ...] = ()
    deleted: tuple[ForeignRoute, ...] = ()


def describe(what: Nexthop | Route | StrayRoute) -> str:
    """The object of a change, for log lines."""
    return f"nexthop {what.id}" if isinstance(what, Nexthop) else f"route {what.prefix}"
