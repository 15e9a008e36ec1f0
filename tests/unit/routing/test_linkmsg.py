from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Prefix
from cuberouted.routing.linux import linkmsg, netlink
from cuberouted.routing.linux.linkmsg import AddressRow, LinkRow
from cuberouted.routing.linux.netlink import NetlinkError, NetlinkMessage
from cuberouted.routing.types import Address, Link, Rule, our_rule

UP, POINT_TO_POINT, LOWER_UP = 0x1, 0x10, 0x10000
TENTATIVE, OPTIMISTIC = 0x40, 0x04
IFLA_IFNAME, IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS, IFA_PROTO = 3, 1, 2, 8, 11
IFLA_PROP_LIST, IFLA_ALT_IFNAME, NLA_F_NESTED = 52, 53, 1 << 15


def packed(text: str) -> bytes:
    return Prefix.parse(text).address


def address(
    length: int, *attributes: bytes, flags: int = 0, family: int | None = None
) -> NetlinkMessage:
    size = len(attributes[0]) - 4
    family = family or (socket.AF_INET if size == 4 else socket.AF_INET6)
    body = struct.pack("=4BI", family, length, flags & 0xFF, 0, 3) + b"".join(attributes)
    return NetlinkMessage(netlink.RTM_NEWADDR, 0, 1, 0, body)


def test_a_link_is_read() -> None:
    body = struct.pack("=BxHiII", 0, 65534, 3, UP | LOWER_UP, 0)
    body += netlink.attribute(IFLA_IFNAME, b"tun0\0\0\0\0")
    row = linkmsg.read_link(NetlinkMessage(netlink.RTM_NEWLINK, 0, 1, 0, body))
    assert row == LinkRow(3, "tun0", UP | LOWER_UP)


def test_the_alternative_names_of_a_link_are_read() -> None:
    names = [netlink.attribute(IFLA_ALT_IFNAME, name) for name in (b"mgmt-to-b\0\0\0", b"x\0\0\0")]
    body = struct.pack("=BxHiII", 0, 65534, 3, UP, 0)
    body += netlink.attribute(IFLA_IFNAME, b"tun1\0\0\0\0")
    body += netlink.attribute(IFLA_PROP_LIST | NLA_F_NESTED, b"".join(names))
    row = linkmsg.read_link(NetlinkMessage(netlink.RTM_NEWLINK, 0, 1, 0, body))
    assert row == LinkRow(3, "tun1", UP, ("mgmt-to-b", "x"))


@pytest.mark.parametrize(
    ("flags", "running", "point_to_point"),
    [
        (UP | LOWER_UP, True, False),
        (UP | LOWER_UP | POINT_TO_POINT, True, True),
        (UP, False, False),
        (LOWER_UP, False, False),
    ],
)
def test_a_link_runs_when_up_with_a_carrier(
    flags: int, running: bool, point_to_point: bool
) -> None:
    here = Address(packed("10.9.0.1"), Prefix.parse("10.9.0.0/24"))
    [link] = linkmsg.join([LinkRow(3, "tun0", flags)], [AddressRow(3, here), AddressRow(4, here)])
    assert link == Link(3, "tun0", running, point_to_point, (here,))


def test_the_network_of_an_address_is_read() -> None:
    row = linkmsg.read_address(address(20, netlink.attribute(IFA_ADDRESS, packed("10.9.77.1"))))
    assert row == AddressRow(3, Address(packed("10.9.77.1"), Prefix.parse("10.9.64.0/20")))


def test_the_network_of_a_point_to_point_address_is_the_other_end() -> None:
    ends = [
        netlink.attribute(IFA_ADDRESS, packed("10.9.0.2")),
        netlink.attribute(IFA_LOCAL, packed("10.9.0.1")),
    ]
    row = linkmsg.read_address(address(32, *ends))
    assert row == AddressRow(3, Address(packed("10.9.0.1"), Prefix.parse("10.9.0.2/32")))


@pytest.mark.parametrize("text", ["10.9.0.5/32", "fd00::5/128"])
def test_an_address_is_written_with_our_protocol_and_read(text: str) -> None:
    sent = linkmsg.set_address(7, 3, packed(text), 59, present=True)
    [message] = netlink.messages(sent)
    assert (message.seq, message.type) == (7, netlink.RTM_NEWADDR)
    assert netlink.attribute(IFA_PROTO, b"\x3b") in message.body
    prefix = Prefix.parse(text)
    assert linkmsg.read_address(message) == AddressRow(3, Address(prefix.address, prefix), 59)
    removal = linkmsg.set_address(8, 3, packed(text), 59, present=False)
    [message] = netlink.messages(removal)
    assert netlink.attribute(IFA_LOCAL, packed(text)) in message.body


def test_a_tentative_address_is_not_used_yet() -> None:
    here = netlink.attribute(IFA_ADDRESS, packed("fd09::1"))
    assert linkmsg.read_address(address(64, here, flags=TENTATIVE)) is None
    long_flags = netlink.number_attribute(IFA_FLAGS, TENTATIVE | 0x100)
    assert linkmsg.read_address(address(64, here, long_flags)) is None
    assert linkmsg.read_address(address(64, here, flags=TENTATIVE | OPTIMISTIC)) is not None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_rule_is_written_and_read(family: int) -> None:
    for rule in (Rule(family, 5657, 1000, 201), our_rule(family, 1000, 201)):
        for pack, kind, flags in (
            (linkmsg.add_rule, netlink.RTM_NEWRULE, 0x601),
            (linkmsg.delete_rule, netlink.RTM_DELRULE, 0x1),
        ):
            [message] = netlink.messages(pack(9, rule))
            assert (message.type, message.flags, message.seq) == (kind, flags, 9)
            assert linkmsg.read_rule(message) == rule


def test_a_rule_that_selects_packets_is_conditional() -> None:
    [message] = netlink.messages(linkmsg.add_rule(9, Rule(socket.AF_INET, 100, 50, 0)))
    mark, unknown = (struct.pack("=HHI", 8, type_, 7) for type_ in (10, 200))
    header = message.body
    for body in (
        header + mark,
        header + unknown,
        header[:2] + b"\x08" + header[3:],  # a source
        header[:7] + b"\x06" + header[8:],  # blackhole
        header[:8] + b"\x02" + header[9:],  # not
    ):
        assert linkmsg.read_rule(message._replace(body=body)).conditional
    assert not linkmsg.read_rule(message).conditional


def test_dumps_are_requested() -> None:
    for packed_, kind in (
        (linkmsg.dump_links(9), netlink.RTM_GETLINK),
        (linkmsg.dump_addresses(9), netlink.RTM_GETADDR),
        (linkmsg.dump_rules(9, socket.AF_INET6), netlink.RTM_GETRULE),
    ):
        [message] = netlink.messages(packed_)
        assert (message.type, message.flags, message.seq) == (kind, 0x301, 9)


FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_FWMARK = 1, 2, 3, 10
BLACKHOLE, INVERT = 6, 2


@pytest.mark.parametrize(
    ("attributes", "fields", "text"),
    [
        ([(FRA_SRC, packed("10.9.0.0"))], {"src_len": 24}, "from 10.9.0.0/24"),
        (
            [(FRA_DST, packed("10.9.0.1")), (FRA_IIFNAME, b"tun0\0\0\0\0")],
            {"dst_len": 32, "flags": INVERT},
            "not to 10.9.0.1/32 iif tun0",
        ),
        ([(FRA_FWMARK, b"\x05\0\0\0")], {"tos": 16}, "fwmark 0x5 tos 0x10"),
        ([(FRA_IIFNAME, b"tun0\0\0\0\0")], {"action": BLACKHOLE}, "iif tun0 blackhole"),
        ([], {}, ""),
    ],
)
def test_a_rule_s_text_is_what_it_selects_or_does_instead(attributes, fields, text):
    names = ("family", "dst_len", "src_len", "tos", "table", "", "", "action", "flags")
    values = {"family": socket.AF_INET, "table": 50, "action": 1, **fields}
    body = struct.pack("=8BI", *(values.get(name, 0) for name in names))
    body += b"".join(netlink.attribute(*attribute) for attribute in attributes)
    rule = linkmsg.read_rule(NetlinkMessage(netlink.RTM_NEWRULE, 0, 1, 0, body))
    assert (rule.table, rule.text, rule.conditional) == (50, text, text != "")


READERS = (linkmsg.read_link, linkmsg.read_address, linkmsg.read_rule, linkmsg.read_nexthop)


@pytest.mark.parametrize("body", [b"", bytes(3)])
def test_a_short_message_is_refused(body: bytes) -> None:
    for read in READERS:
        with pytest.raises(NetlinkError):
            read(NetlinkMessage(netlink.RTM_NEWLINK, 0, 1, 0, body))


@given(
    st.sampled_from(READERS),
    st.binary(max_size=24),
    st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=20)), max_size=4),
)
def test_random_bytes_are_read_or_refused(
    read: Callable[[NetlinkMessage], object], header: bytes, attributes: list[tuple[int, bytes]]
) -> None:
    body = header + b"".join(netlink.attribute(kind, value) for kind, value in attributes)
    with contextlib.suppress(NetlinkError):
        read(NetlinkMessage(netlink.RTM_NEWLINK, 0, 1, 0, body))
