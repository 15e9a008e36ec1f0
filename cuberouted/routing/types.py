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
    """

    index: int
    name: str
    running: bool
    point_to_point: bool
    addresses: tuple[Address, ...]
    altnames: tuple[str, ...] = ()


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
    """A route that is not ours. ``device`` is None where the route has none, or several."""

    prefix: Prefix
    table: int
    metric: int
    protocol: int
    device: int | None


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
    """What rtnetlink has notified since the last time, without the changes made by us.

    ``links``: a link or an address changed. ``ours``: another process changed a route,
    nexthop object or rule that bears our protocol. ``lost``: notifications were lost, so
    that anything may have changed. ``added``, ``deleted``: foreign routes, oldest first.
    """

    links: bool = False
    ours: bool = False
    lost: bool = False
    added: tuple[ForeignRoute, ...] = ()
    deleted: tuple[ForeignRoute, ...] = ()


def describe(what: Nexthop | Route | StrayRoute) -> str:
    """The object of a change, for log lines."""
    return f"nexthop {what.id}" if isinstance(what, Nexthop) else f"route {what.prefix}"
