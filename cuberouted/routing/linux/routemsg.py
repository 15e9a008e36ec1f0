"""Routes and nexthop objects as netlink messages.

Bytes and values only. They come by the ten thousand, and nexthops are unknown to
pyroute2, so they are packed and read here. Source: the kernel's linux/rtnetlink.h and
linux/nexthop.h.
"""

from __future__ import annotations

import struct
from socket import AF_INET, AF_INET6
from typing import NamedTuple

from cuberouted.model import Prefix
from cuberouted.routing.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NetlinkError,
    attribute,
    attribute_head,
    attributes,
    frame,
    head,
    number,
    number_attribute,
)
from cuberouted.routing.types import Nexthop, Route, StrayRoute

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
RTA_DST, RTA_OIF, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE, RTA_NH_ID = 1, 4, 6, 7, 15, 30
NHA_ID, NHA_OIF, NHA_GATEWAY = 1, 5, 6
RTN_UNICAST = 1
RTM_F_CLONED = 0x200
RTNH_F_ONLINK = 4

_ANY_SCOPE = 255  # RT_SCOPE_NOWHERE: a delete matches a route of whatever scope
_RTMSG = struct.Struct("=8BI")
_PROTOCOL_AT = 5
_RTMSG_REST = struct.Struct("=6BI")  # behind family and length
_NHMSG = struct.Struct("=4BI")
_ADDRESS_BYTES: dict[int, int] = {AF_INET: 4, AF_INET6: 16}
_FAMILY = {4: AF_INET, 16: AF_INET6}


class KernelRoute(NamedTuple):
    """A route as the kernel shows it. ``nexthop`` 0: by no nexthop object."""

    prefix: Prefix
    table: int
    metric: int
    protocol: int
    kind: int
    cloned: bool
    nexthop: int
    device: int | None
    source: bytes | None


def protocol_of(body: bytes) -> int:
    """The protocol of a route, from the body of its message.

    Raises:
      NetlinkError: too short for one.
    """
    if len(body) < _RTMSG.size:
        raise NetlinkError(f"a route of {len(body)} bytes")
    return body[_PROTOCOL_AT]


def read_route(body: bytes) -> KernelRoute:
    """The route in the body of an RTM_NEWROUTE or RTM_DELROUTE.

    Raises:
      NetlinkError: not IPv4 or IPv6, or malformed.
    """
    if len(body) < _RTMSG.size:
        raise NetlinkError(f"a route of {len(body)} bytes")
    family, length, _, _, table, protocol, _, kind, flags = _RTMSG.unpack_from(body)
    get = attributes(body, _RTMSG.size).get
    size = _ADDRESS_BYTES.get(family, 0)
    address = get(RTA_DST) or bytes(size)
    if len(address) != size or length > size * 8 or not size:
        raise NetlinkError(f"family {family}: a route to {len(address)} bytes / {length}")
    return KernelRoute(
        Prefix(address, length),
        number(get(RTA_TABLE), table),
        number(get(RTA_PRIORITY)),
        protocol,
        kind,
        bool(flags & RTM_F_CLONED),
        number(get(RTA_NH_ID)),
        number(get(RTA_OIF)) or None,
        get(RTA_PREFSRC),
    )


def read_nexthop(body: bytes) -> tuple[Nexthop, int]:
    """The nexthop in the body of an RTM_NEWNEXTHOP or RTM_DELNEXTHOP, and its protocol.

    A group or blackhole, which has no device, has device 0.

    Raises:
      NetlinkError: malformed.
    """
    if len(body) < _NHMSG.size:
        raise NetlinkError(f"a nexthop of {len(body)} bytes")
    family, _, protocol, _, _ = _NHMSG.unpack_from(body)
    get = attributes(body, _NHMSG.size).get
    id_, device = number(get(NHA_ID)), number(get(NHA_OIF))
    if not id_:
        raise NetlinkError("a nexthop without an id")
    return Nexthop(id_, family, device, get(NHA_GATEWAY)), protocol


def write_nexthop(seq: int, nexthop: Nexthop, protocol: int, *, replace: bool) -> bytes:
    """Adds *nexthop*, or with *replace* changes the one of that id, which must exist.

    A gateway is taken to be on the link whatever the device's networks are (ONLINK).
    """
    flags = NLM_F_REQUEST | (NLM_F_REPLACE if replace else NLM_F_CREATE | NLM_F_EXCL)
    onlink = 0 if nexthop.gateway is None else RTNH_F_ONLINK
    body = _NHMSG.pack(nexthop.family, 0, protocol, 0, onlink)
    body += number_attribute(NHA_ID, nexthop.id) + number_attribute(NHA_OIF, nexthop.device)
    if nexthop.gateway is not None:
        body += attribute(NHA_GATEWAY, nexthop.gateway)
    return frame(seq, RTM_NEWNEXTHOP, flags, body)


def get_nexthop(seq: int, id_: int) -> bytes:
    """Asks for the nexthop of this id."""
    return frame(seq, RTM_GETNEXTHOP, NLM_F_REQUEST, _nexthop_named(id_))


def delete_nexthop(seq: int, nexthop: Nexthop) -> bytes:
    """Deletes the nexthop of that id, whoever owns it: the kernel cannot be told more."""
    return frame(seq, RTM_DELNEXTHOP, NLM_F_REQUEST, _nexthop_named(nexthop.id))


def _nexthop_named(id_: int) -> bytes:
    # protocol, scope and flags must be zero here, or the kernel answers EINVAL
    return bytes(_NHMSG.size) + number_attribute(NHA_ID, id_)


def dump_nexthops(seq: int) -> bytes:
    """Asks for every nexthop object; the kernel cannot filter them by protocol."""
    return frame(seq, RTM_GETNEXTHOP, NLM_F_REQUEST | NLM_F_DUMP, bytes(_NHMSG.size))


def dump_routes(
    seq: int, family: int, *, table: int = 0, protocol: int = 0, device: int = 0, kind: int = 0
) -> bytes:
    """Asks for the routes of *family*; each argument but 0 narrows it, in the kernel.

    The kernel heeds them only on a socket with NETLINK_GET_STRICT_CHK.
    """
    body = _RTMSG.pack(family, 0, 0, 0, 0, protocol, 0, kind, 0)
    if table:
        body += number_attribute(RTA_TABLE, table)
    if device:
        body += number_attribute(RTA_OIF, device)
    return frame(seq, RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, body)


class RouteWriter:
    """Packs changes of the routes that bear one protocol."""

    def __init__(self, table: int, metric: int, protocol: int) -> None:
        self._protocol = protocol
        self._table, self._metric = table, metric
        self._adds = {
            (size, sourced): _AddParts.of(size, table, metric, protocol, sourced=sourced)
            for size in _FAMILY
            for sourced in (False, True)
        }

    def add(self, seq: int, route: Route) -> bytes:
        """Adds *route*, and fails if that prefix and metric are taken, by whomever."""
        (address, length), nexthop, source = route
        layout, start, family, rest, by, place = self._adds[len(address), source is not None]
        packed: bytes
        if source is None:
            packed = layout.pack(start, seq, family, length, rest, address, by, nexthop, place)
        else:
            packed = layout.pack(
                start, seq, family, length, rest, address, by, nexthop, place, source
            )
        return packed

    def delete(self, seq: int, route: Route) -> bytes:
        """Deletes our route to that prefix; one of another protocol is left alone."""
        return self.delete_stray(seq, StrayRoute(route.prefix, self._table, self._metric))

    def delete_stray(self, seq: int, stray: StrayRoute) -> bytes:
        """The same for a route of our protocol in any table, with any metric."""
        prefix, table, metric = stray
        body = _RTMSG.pack(
            prefix.family, prefix.length, 0, 0, _short(table), self._protocol, _ANY_SCOPE, 0, 0
        )
        body += attribute(RTA_DST, prefix.address) + _place(table, metric)
        return frame(seq, RTM_DELROUTE, NLM_F_REQUEST, body)


class _AddParts(NamedTuple):
    """A layout for RouteWriter.add, and what is the same in every message of it."""

    layout: struct.Struct
    start: bytes
    family: int
    rest: bytes
    by: bytes
    place: bytes

    @classmethod
    def of(cls, size: int, table: int, metric: int, protocol: int, *, sourced: bool) -> _AddParts:
        place = _place(table, metric)
        if sourced:
            place += attribute_head(RTA_PREFSRC, size)
        layout = struct.Struct(
            f"=8sI4xBB14s{size}s4sI{len(place)}s" + (f"{size}s" if sourced else "")
        )
        start = head(RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, layout.size)
        rest = _RTMSG_REST.pack(0, 0, _short(table), protocol, 0, RTN_UNICAST, 0)
        rest += attribute_head(RTA_DST, size)
        return cls(layout, start, _FAMILY[size], rest, attribute_head(RTA_NH_ID, 4), place)


def _place(table: int, metric: int) -> bytes:
    return number_attribute(RTA_TABLE, table) + number_attribute(RTA_PRIORITY, metric)


def _short(table: int) -> int:
    """The table as the header has it: one byte, 0 for those that only RTA_TABLE can name."""
    return table if table < 256 else 0
