"""Routes as netlink messages, packed and read by hand.

They come by the ten thousand, and pyroute2's classes take 100 times longer. Bytes and values
only. Source: the kernel's linux/rtnetlink.h.
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
    NLM_F_REQUEST,
    RTM_DELROUTE,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    NetlinkError,
    attribute,
    attribute_header,
    attributes,
    frame,
    frame_start,
    number,
    number_attribute,
)
from cuberouted.routing.types import RTN_UNICAST, Route, StrayRoute

RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 2, 3, 4, 5, 6, 7
RTA_TABLE, RTA_VIA, RTA_NH_ID = 15, 18, 30
RTM_F_CLONED, RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH = 0x200, 0x1000, 0x2000

_RT_SCOPE_NOWHERE = 255  # in a deletion: a route of any scope
_RTMSG = struct.Struct("=8BI")  # rtmsg: family, dst_len, src_len, tos, table, protocol, ...
_PROTOCOL_AT = 5
_RTMSG_REST = struct.Struct("=6BI")  # behind family and dst_len
_ADDRESS_BYTES: dict[int, int] = {AF_INET: 4, AF_INET6: 16}
_FAMILY = {4: AF_INET, 16: AF_INET6}


class KernelRoute(NamedTuple):
    """A route as the kernel dumps it. ``nexthop`` 0: it refers to no nexthop object."""

    prefix: Prefix
    table: int
    metric: int
    protocol: int
    type: int
    cloned: bool
    nexthop: int
    device: int | None
    source: bytes | None
    gateway: bytes | None


def protocol_of(body: bytes) -> int:
    """The protocol number of the route in the body of an RTM_NEWROUTE.

    Raises:
      NetlinkError: malformed.
    """
    if len(body) < _RTMSG.size:
        raise NetlinkError(f"a route of {len(body)} bytes")
    return body[_PROTOCOL_AT]


def read_route(body: bytes) -> KernelRoute:
    """The route in the body of an RTM_NEWROUTE or RTM_DELROUTE.

    Raises:
      NetlinkError: neither IPv4 nor IPv6, or malformed.
    """
    if len(body) < _RTMSG.size:
        raise NetlinkError(f"a route of {len(body)} bytes")
    family, length, _, _, table, protocol, _, type_, flags = _RTMSG.unpack_from(body)
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
        type_,
        bool(flags & RTM_F_CLONED),
        number(get(RTA_NH_ID)),
        number(get(RTA_OIF)) or None,
        get(RTA_PREFSRC),
        get(RTA_GATEWAY) or (get(RTA_VIA) or b"")[2:] or None,  # RTA_VIA: family and address
    )


def dump_routes(
    seq: int, family: int, *, table: int = 0, protocol: int = 0, device: int = 0, type_: int = 0
) -> bytes:
    """Request the routes of *family*; each argument other than 0 is a filter.

    The kernel applies filters only on a socket with NETLINK_GET_STRICT_CHK.
    """
    body = _RTMSG.pack(family, 0, 0, 0, 0, protocol, 0, type_, 0)
    if table:
        body += number_attribute(RTA_TABLE, table)
    if device:
        body += number_attribute(RTA_OIF, device)
    return frame(seq, RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, body)


def get_route(seq: int, destination: bytes, source: bytes | None, device: int) -> bytes:
    """Request the route that a packet to *destination* follows.

    With a *device*: one that came in there from *source*.
    """
    bits, family = 8 * len(destination), _FAMILY[len(destination)]
    # without FIB_MATCH the answer is not the route, but what follows from it for this packet
    flags = RTM_F_FIB_MATCH if family == AF_INET6 else RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE
    body = _RTMSG.pack(family, bits, bits if source else 0, *[0] * 5, flags)
    body += attribute(RTA_DST, destination)
    if source:
        body += attribute(RTA_SRC, source)
    if device:
        body += number_attribute(RTA_IIF, device)
    return frame(seq, RTM_GETROUTE, NLM_F_REQUEST, body)


class RouteWriter:
    """Packs changes of routes in one table, with one metric and one protocol."""

    def __init__(self, table: int, metric: int, protocol: int) -> None:
        self._protocol = protocol
        self._table, self._metric = table, metric
        self._templates = {
            (size, sourced): _AddTemplate.of(size, table, metric, protocol, sourced=sourced)
            for size in _FAMILY
            for sourced in (False, True)
        }

    def add(self, seq: int, route: Route) -> bytes:
        """Add *route*. Fails if any route with that prefix and metric exists."""
        (address, length), nexthop, source = route
        layout, start, family, rest, nh_id, tail = self._templates[len(address), source is not None]
        packed: bytes
        if source is None:
            packed = layout.pack(start, seq, family, length, rest, address, nh_id, nexthop, tail)
        else:
            packed = layout.pack(
                start, seq, family, length, rest, address, nh_id, nexthop, tail, source
            )
        return packed

    def delete(self, seq: int, route: Route) -> bytes:
        """Delete our route to that prefix. A route of another protocol does not match."""
        return self.delete_stray(seq, StrayRoute(route.prefix, self._table, self._metric))

    def delete_stray(self, seq: int, stray: StrayRoute) -> bytes:
        """Delete a route of our protocol in any table, with any metric."""
        prefix, table, metric = stray
        body = _RTMSG.pack(
            prefix.family,
            prefix.length,
            0,
            0,
            _table_byte(table),
            self._protocol,
            _RT_SCOPE_NOWHERE,
            0,
            0,
        )
        body += attribute(RTA_DST, prefix.address) + _table_and_metric(table, metric)
        return frame(seq, RTM_DELROUTE, NLM_F_REQUEST, body)


class _AddTemplate(NamedTuple):
    """The layout of RouteWriter.add's messages, and the parts that are alike in all of them."""

    layout: struct.Struct
    start: bytes
    family: int
    rest: bytes
    nh_id: bytes
    tail: bytes

    @classmethod
    def of(
        cls, size: int, table: int, metric: int, protocol: int, *, sourced: bool
    ) -> _AddTemplate:
        tail = _table_and_metric(table, metric)
        if sourced:
            tail += attribute_header(RTA_PREFSRC, size)
        layout = struct.Struct(
            f"=8sI4xBB14s{size}s4sI{len(tail)}s" + (f"{size}s" if sourced else "")
        )
        flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
        start = frame_start(RTM_NEWROUTE, flags, layout.size)
        rest = _RTMSG_REST.pack(0, 0, _table_byte(table), protocol, 0, RTN_UNICAST, 0)
        rest += attribute_header(RTA_DST, size)
        return cls(layout, start, _FAMILY[size], rest, attribute_header(RTA_NH_ID, 4), tail)


def _table_and_metric(table: int, metric: int) -> bytes:
    return number_attribute(RTA_TABLE, table) + number_attribute(RTA_PRIORITY, metric)


def _table_byte(table: int) -> int:
    """The header's one-byte table; 0 for tables that only the RTA_TABLE attribute can name."""
    return table if table < 256 else 0
