"""Framing and routes, compared with pyroute2, which others wrote from the same headers."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.marshal import MarshalRtnl  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # type: ignore[import-untyped]

from cuberouted.model import Prefix
from cuberouted.routing.linux import linkmsg, netlink, routemsg
from cuberouted.routing.linux.netlink import (
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    Ack,
    NetlinkError,
    NetlinkMessage,
)
from cuberouted.routing.linux.routemsg import KernelRoute, RouteWriter
from cuberouted.routing.types import Nexthop, Route, StrayRoute

METRIC, PROTOCOL, VIA = 50, 201, 250_565_700
TABLES = (254, 1000, 4_000_000_000)
REQUEST, ACK, REPLACE, EXCL, CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
UNIVERSE, NOWHERE = 0, 255


def prefixes() -> st.SearchStrategy[Prefix]:
    return st.sampled_from((4, 16)).flatmap(
        lambda size: st.builds(
            _masked, st.binary(min_size=size, max_size=size), st.integers(1, size * 8)
        )
    )


def _masked(address: bytes, length: int) -> Prefix:
    behind = len(address) * 8 - length
    return Prefix((int.from_bytes(address) >> behind << behind).to_bytes(len(address)), length)


def by_pyroute2(data: bytes) -> rtmsg:
    [message] = MarshalRtnl().parse(data)
    return message


def text(address: bytes | None) -> str | None:
    if address is None:
        return None
    return socket.inet_ntop(Prefix.host(address).family, address)


def nexthop_of(packed: bytes) -> int | None:
    """RTA_NH_ID, of which pyroute2 tells the place but not the value."""
    body = next(iter(netlink.messages(packed))).body
    value = netlink.attributes(body, 12).get(30)
    unknown = [a[1]["header"] for a in by_pyroute2(packed)["attrs"] if a[0] == "UNKNOWN"]
    assert unknown == ([] if value is None else [{"length": 8, "type": 30}])
    return None if value is None else int.from_bytes(value, sys.byteorder)


@given(prefixes(), st.sampled_from(TABLES), st.booleans(), st.integers(0, 2**32 - 1))
def test_pyroute2_reads_an_added_route(prefix: Prefix, table: int, sourced: bool, seq: int) -> None:
    source = bytes(range(1, len(prefix.address) + 1)) if sourced else None
    packed = RouteWriter(table, METRIC, PROTOCOL).add(seq, Route(prefix, VIA, source))
    message = by_pyroute2(packed)
    assert message["header"]["length"] == len(packed)
    assert message["header"]["type"] == RTM_NEWROUTE
    assert message["header"]["flags"] == REQUEST | CREATE | EXCL
    assert message["header"]["sequence_number"] == seq
    assert {field: message[field] for field in ("family", "dst_len", "proto", "scope", "type")} == {
        "family": prefix.family,
        "dst_len": prefix.length,
        "proto": PROTOCOL,
        "scope": UNIVERSE,
        "type": 1,
    }
    assert message["table"] == (table if table < 256 else 0)
    assert message.get_attr("RTA_DST") == text(prefix.address)
    assert message.get_attr("RTA_TABLE") == table
    assert message.get_attr("RTA_PRIORITY") == METRIC
    assert nexthop_of(packed) == VIA
    assert message.get_attr("RTA_PREFSRC") == text(source)


@given(prefixes(), st.sampled_from(TABLES))
def test_a_deletion_contains_our_protocol_table_and_metric(prefix: Prefix, table: int) -> None:
    writer = RouteWriter(table, METRIC, PROTOCOL)
    packed = writer.delete(7, Route(prefix, VIA, None))
    message = by_pyroute2(packed)
    assert message["header"]["type"] == RTM_DELROUTE
    assert message["header"]["flags"] == REQUEST
    assert (message["proto"], message["scope"], message["type"]) == (PROTOCOL, NOWHERE, 0)
    assert message.get_attr("RTA_DST") == text(prefix.address)
    assert message.get_attr("RTA_TABLE") == table
    assert message.get_attr("RTA_PRIORITY") == METRIC
    assert nexthop_of(packed) is None
    assert writer.delete_stray(7, StrayRoute(prefix, table, METRIC)) == packed
    assert by_pyroute2(writer.delete_stray(7, StrayRoute(prefix, 9, 8))).get_attr("RTA_TABLE") == 9


@given(prefixes(), st.sampled_from(TABLES), st.booleans())
def test_a_packed_route_is_read_back(prefix: Prefix, table: int, sourced: bool) -> None:
    source = prefix.address if sourced else None
    packed = RouteWriter(table, METRIC, PROTOCOL).add(7, Route(prefix, VIA, source))
    [message] = netlink.messages(packed)
    assert routemsg.read_route(message.body) == KernelRoute(
        prefix, table, METRIC, PROTOCOL, 1, False, VIA, None, source, None
    )


def test_a_route_packed_by_pyroute2_is_read() -> None:
    message = rtmsg()
    message["family"], message["dst_len"], message["table"] = socket.AF_INET, 24, 77
    message["proto"], message["type"], message["flags"] = 186, 6, 0x200
    message["attrs"] = [
        ("RTA_DST", "10.9.4.0"),
        ("RTA_OIF", 3),
        ("RTA_GATEWAY", "10.9.4.1"),
        ("RTA_PREFSRC", "10.9.4.2"),
        ("RTA_PRIORITY", 20),
    ]
    message.encode()
    [framed] = netlink.messages(bytes(message.data))
    assert routemsg.read_route(framed.body) == KernelRoute(
        Prefix.parse("10.9.4.0/24"),
        77,
        20,
        186,
        6,
        True,
        0,
        3,
        b"\x0a\x09\x04\x02",
        b"\x0a\x09\x04\x01",
    )


def test_a_default_route_has_no_destination() -> None:
    body = struct.pack("=8BI", socket.AF_INET6, 0, 0, 0, 254, 3, 0, 1, 0)
    assert routemsg.read_route(body).prefix == Prefix.parse("::/0")


@pytest.mark.parametrize(
    ("nexthop", "replace", "expected"),
    [
        # struct nhmsg, then NHA_ID, NHA_OIF, NHA_GATEWAY (linux/nexthop.h)
        (
            Nexthop(VIA, socket.AF_INET, 3, None),
            False,
            struct.pack("=IHHII", 40, 104, REQUEST | CREATE | EXCL, 7, 0)
            + struct.pack("=4BI", 2, 0, PROTOCOL, 0, 0)
            + struct.pack("=HHIHHI", 8, 1, VIA, 8, 5, 3),
        ),
        (
            Nexthop(VIA, socket.AF_INET6, 3, bytes(range(16))),
            True,
            struct.pack("=IHHII", 60, 104, REQUEST | REPLACE, 7, 0)
            + struct.pack("=4BI", 10, 0, PROTOCOL, 0, 4)
            + struct.pack("=HHIHHI", 8, 1, VIA, 8, 5, 3)
            + struct.pack("=HH16s", 20, 6, bytes(range(16))),
        ),
    ],
)
def test_a_nexthop_is_written_and_read(nexthop: Nexthop, replace: bool, expected: bytes) -> None:
    packed = linkmsg.write_nexthop(7, nexthop, PROTOCOL, replace=replace)
    assert packed == expected
    [message] = netlink.messages(packed)
    assert linkmsg.read_nexthop(message) == (nexthop, PROTOCOL)


def test_a_nexthop_is_selected_by_its_id_alone() -> None:
    body = bytes(8) + struct.pack("=HHI", 8, 1, VIA)
    nexthop = Nexthop(VIA, socket.AF_INET, 3, None)
    [delete] = netlink.messages(linkmsg.delete_nexthop(7, nexthop))
    [get] = netlink.messages(linkmsg.get_nexthop(8, VIA))
    assert delete == NetlinkMessage(105, REQUEST, 7, 0, body)
    assert get == NetlinkMessage(106, REQUEST, 8, 0, body)


def test_a_dump_of_routes_contains_its_filters() -> None:
    packed = routemsg.dump_routes(7, socket.AF_INET, table=1000, protocol=201, device=3, type_=1)
    message = by_pyroute2(packed)
    assert message["header"]["flags"] == REQUEST | 0x300
    assert (message["family"], message["proto"], message["type"]) == (socket.AF_INET, 201, 1)
    assert (message.get_attr("RTA_TABLE"), message.get_attr("RTA_OIF")) == (1000, 3)


def ack_text(text_: bytes) -> bytes:
    return netlink.attribute(1, text_.ljust((len(text_) + 4) & ~3, b"\0"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        # an acknowledgement repeats our header, and with it nothing else
        (NetlinkMessage(NLMSG_ERROR, 0x100, 5, 1, struct.pack("=i", 0) + bytes(16)), Ack(5, 0, "")),
        (
            NetlinkMessage(
                NLMSG_ERROR,
                0x300,
                5,
                1,
                struct.pack("=i", -22) + bytes(16) + ack_text(b"No such id"),
            ),
            Ack(5, errno.EINVAL, "No such id"),
        ),
        # one that is not capped repeats all of our request, here of 18 bytes
        (
            NetlinkMessage(
                NLMSG_ERROR,
                0x200,
                5,
                1,
                struct.pack("=iI", -17, 18) + bytes(16) + ack_text(b"taken"),
            ),
            Ack(5, errno.EEXIST, "taken"),
        ),
        (NetlinkMessage(NLMSG_DONE, 0x2, 6, 1, struct.pack("=i", 0)), Ack(6, 0, "")),
        (
            NetlinkMessage(NLMSG_DONE, 0x202, 6, 1, struct.pack("=i", -2) + ack_text(b"no table")),
            Ack(6, errno.ENOENT, "no table"),
        ),
    ],
)
def test_an_acknowledgement_is_read_with_its_text(message: NetlinkMessage, expected: Ack) -> None:
    assert netlink.read_ack(message) == expected


def test_the_reason_of_an_error_is_its_text_or_that_of_the_errno() -> None:
    assert Ack(1, errno.EEXIST, "").reason == "File exists"
    assert Ack(1, errno.EEXIST, "taken").reason == "taken"


def test_several_messages_are_read_in_order() -> None:
    parts = [netlink.frame(n, 16 + n, n, bytes(4 * n)) for n in range(5)]
    expected = [NetlinkMessage(16 + n, n, n, 0, bytes(4 * n)) for n in range(5)]
    assert list(netlink.messages(b"".join(parts))) == expected


def test_messages_before_a_malformed_one_are_read() -> None:
    data = netlink.frame(1, 16, 0, b"") + struct.pack("=IHHII", 15, 16, 0, 2, 0)
    found = netlink.messages(data)
    assert next(found).seq == 1
    with pytest.raises(NetlinkError, match="a message of 15 bytes where 16 are left"):
        next(found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(11),
        bytes(12),
        struct.pack("=8BI", 2, 33, 0, 0, 254, 0, 0, 0, 0),
        struct.pack("=8BI", 2, 32, 0, 0, 254, 0, 0, 0, 0) + netlink.attribute(1, bytes(16)),
        struct.pack("=8BI", 2, 0, 0, 0, 254, 0, 0, 0, 0) + struct.pack("=HH", 3, 1),
        struct.pack("=8BI", 2, 0, 0, 0, 254, 0, 0, 0, 0) + struct.pack("=HH", 5, 1),
        struct.pack("=8BI", 2, 0, 0, 0, 254, 0, 0, 0, 0) + netlink.attribute(15, bytes(8)),
    ],
)
def test_a_malformed_route_is_refused(body: bytes) -> None:
    with pytest.raises(NetlinkError):
        routemsg.read_route(body)


@pytest.mark.parametrize("body", [b"", bytes(8), bytes(8) + netlink.attribute(1, bytes(8))])
def test_a_malformed_nexthop_is_refused(body: bytes) -> None:
    with pytest.raises(NetlinkError):
        linkmsg.read_nexthop(NetlinkMessage(104, 0, 1, 0, body))


@pytest.mark.parametrize(
    "message", [NetlinkMessage(2, 0x300, 1, 0, bytes(3)), NetlinkMessage(2, 0, 1, 0, b"")]
)
def test_a_malformed_acknowledgement_is_refused(message: NetlinkMessage) -> None:
    with pytest.raises(NetlinkError):
        netlink.read_ack(message)


@given(st.binary(max_size=300))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (_read_all, routemsg.read_route):
        try:
            read(data)
        except NetlinkError:
            continue


@given(st.lists(st.binary(min_size=4, max_size=40), max_size=8), st.integers(0, 200))
def test_a_message_cut_short_is_refused_or_shorter(bodies: list[bytes], cut: int) -> None:
    whole = b"".join(netlink.frame(1, RTM_NEWROUTE, 0, body[: len(body) & ~3]) for body in bodies)
    given_: list[NetlinkMessage] = []
    with contextlib.suppress(NetlinkError):
        given_.extend(netlink.messages(whole[:cut]))
    assert given_ == list(netlink.messages(whole))[: len(given_)]


def _read_all(data: bytes) -> None:
    for message in netlink.messages(data):
        netlink.read_ack(message)
        routemsg.read_route(message.body)
