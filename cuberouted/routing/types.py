"""What the kernel's side is made of: links, nexthops, routes, and changes to them.

Plain values between the pure `fib` and the shell `kernel`. Addresses are packed bytes;
devices are interface indexes, because a device that is made anew under the same name is
another device.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

import attrs

from cuberouted.model import Prefix


class Address(NamedTuple):
    """An address of ours on a link.

    ``local`` is the address itself. ``network`` is what the kernel takes to be reached
    through it: the subnet, or on a point-to-point link the other end.
    """

    local: bytes
    network: Prefix


@attrs.frozen
class Link:
    """A network interface. ``running``: administratively up, and has a carrier."""

    index: int
    name: str
    running: bool
    point_to_point: bool
    addresses: tuple[Address, ...]


class Nexthop(NamedTuple):
    """A nexthop object: where a peer is. ``gateway`` None: the device alone tells."""

    id: int
    family: int
    device: int
    gateway: bytes | None


class Route(NamedTuple):
    """A route of ours in our table, with our metric, through nexthop object ``nexthop``.

    ``source`` is the preferred source address (RTA_PREFSRC), or None.
    """

    prefix: Prefix
    nexthop: int
    source: bytes | None


class StrayRoute(NamedTuple):
    """A route that bears our protocol but not our form: other table, metric, or no nexthop."""

    prefix: Prefix
    table: int
    metric: int


class ForeignRoute(NamedTuple):
    """A route that is not ours. ``device`` is None where the route names none (or several)."""

    prefix: Prefix
    table: int
    metric: int
    protocol: int
    device: int | None


@attrs.frozen
class KernelState:
    """What one dump found of ours."""

    nexthops: Mapping[int, Nexthop]
    routes: Mapping[Prefix, Route]
    strays: tuple[StrayRoute, ...] = ()


class Op(enum.StrEnum):
    """What to do. ADD never replaces (NLM_F_EXCL); REPLACE is for nexthops alone."""

    ADD = "add"
    REPLACE = "replace"
    DELETE = "delete"


class Change(NamedTuple):
    """One thing to do in the kernel."""

    op: Op
    what: Nexthop | Route | StrayRoute


class ChangeError(NamedTuple):
    """A change that the kernel refused. ``why`` is the kernel's extended message, or empty."""

    change: Change
    errno: int
    why: str


@attrs.frozen
class KernelEvents:
    """What the kernel has told since it was last asked, our own changes left out.

    ``links``: a link or an address changed. ``ours``: a route, nexthop or rule that bears
    our protocol was changed by somebody else. ``lost``: notifications overflowed, and anything
    may have changed. ``appeared``, ``vanished``: foreign routes, oldest first.
    """

    links: bool = False
    ours: bool = False
    lost: bool = False
    added: tuple[ForeignRoute, ...] = ()
    deleted: tuple[ForeignRoute, ...] = ()


def describe(what: Nexthop | Route | StrayRoute) -> str:
    """What a change is about, for people."""
    return f"nexthop {what.id}" if isinstance(what, Nexthop) else f"route {what.prefix}"
