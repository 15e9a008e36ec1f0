"""Links, addresses and rules as netlink messages.

Written by hand, as `routemsg` is: to import pyroute2's classes for these few messages took
a third of the daemon's start. Its tests hold them against pyroute2's. Source: the kernel's
linux/if_link.h, if_addr.h and fib_rules.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from cuberouted.model import Prefix
from cuberouted.routing.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    NetlinkError,
    NetlinkMessage,
    attributes,
    frame,
    number,
    number_attribute,
)
from cuberouted.routing.types import Address, Link

RTM_GETLINK, RTM_GETADDR = 18, 22
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

IFLA_IFNAME, IFLA_EXT_MASK = 3, 29
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
FRA_PRIORITY, FRA_TABLE, FRA_PROTOCOL = 6, 15, 21

_IFF_UP, _IFF_POINTOPOINT, _IFF_LOWER_UP = 0x1, 0x10, 0x10000
_IFA_F_OPTIMISTIC, _IFA_F_TENTATIVE = 0x04, 0x40
_SKIP_STATS = 8  # RTEXT_FILTER_SKIP_STATS
_FR_ACT_TO_TBL = 1

_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, length, flags, scope, index
_RULE = struct.Struct("=BBBBBBBBI")  # fib_rule_hdr: family, ..., table, ..., action, flags
_SMALL_ATTRIBUTE = struct.Struct("=HHB3x")  # one byte, and three to fill up
_SIZES: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}


class LinkRow(NamedTuple):
    """A link without its addresses, which the kernel tells apart."""

    device: int
    name: str
    flags: int


class AddressRow(NamedTuple):
    """An address of the link ``device``."""

    device: int
    address: Address


class Rule(NamedTuple):
    """A routing rule that sends everything to ``table``."""

    family: int
    priority: int
    table: int
    protocol: int


def dump_links(seq: int) -> bytes:
    """Asks for every link."""
    body = bytes(_LINK.size) + number_attribute(IFLA_EXT_MASK, _SKIP_STATS)
    return frame(seq, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, body)


def dump_addresses(seq: int) -> bytes:
    """Asks for every address."""
    return frame(seq, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, bytes(_ADDRESS.size))


def dump_rules(seq: int, family: int) -> bytes:
    """Asks for the rules of *family*."""
    body = _RULE.pack(family, *bytes(8))
    return frame(seq, RTM_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, body)


def add_rule(seq: int, rule: Rule) -> bytes:
    """Adds *rule*, and fails if it is there."""
    return _rule(seq, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule)


def delete_rule(seq: int, rule: Rule) -> bytes:
    """Deletes a rule with all of these marks, its protocol among them."""
    return _rule(seq, RTM_DELRULE, 0, rule)


def read_link(message: NetlinkMessage) -> LinkRow:
    """The link that an RTM_NEWLINK tells of.

    Raises:
      NetlinkError: malformed.
    """
    _, _, index, flags, _ = _head(_LINK, message)
    name = attributes(message.body, _LINK.size).get(IFLA_IFNAME, b"")
    return LinkRow(index, name.rstrip(b"\0").decode("utf-8", "surrogateescape"), flags)


def read_address(message: NetlinkMessage) -> AddressRow | None:
    """The address that an RTM_NEWADDR tells of; None for one that is no use yet.

    Raises:
      NetlinkError: malformed.
    """
    family, length, flags, _, index = _head(_ADDRESS, message)
    get = attributes(message.body, _ADDRESS.size).get
    flags = number(get(IFA_FLAGS), flags)
    other = get(IFA_ADDRESS)  # the network's, or the other end of a link
    untested = flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC
    if untested or other is None or family not in _SIZES:
        return None
    local, size = get(IFA_LOCAL, other), _SIZES[family]
    if not len(local) == len(other) == size or length > 8 * size:
        raise NetlinkError(f"family {family}: an address of {len(other)} bytes / {length}")
    return AddressRow(index, Address(local, _masked(other, length)))


def read_rule(message: NetlinkMessage) -> Rule:
    """The rule that an RTM_NEWRULE or RTM_DELRULE tells of.

    Raises:
      NetlinkError: malformed.
    """
    family, _, _, _, table, _, _, _, _ = _head(_RULE, message)
    get = attributes(message.body, _RULE.size).get
    protocol = int.from_bytes(get(FRA_PROTOCOL, b"")[:1])
    return Rule(family, number(get(FRA_PRIORITY)), number(get(FRA_TABLE), table), protocol)


def merged(links: Iterable[LinkRow], addresses: Iterable[AddressRow]) -> tuple[Link, ...]:
    """Links with their addresses, each in the kernel's order."""
    by_device: dict[int, list[Address]] = {}
    for device, address in addresses:
        by_device.setdefault(device, []).append(address)
    return tuple(
        Link(
            index=device,
            name=name,
            running=flags & _IFF_UP != 0 and flags & _IFF_LOWER_UP != 0,
            point_to_point=flags & _IFF_POINTOPOINT != 0,
            addresses=tuple(by_device.get(device, ())),
        )
        for device, name, flags in links
    )


def _masked(address: bytes, length: int) -> Prefix:
    bits = len(address) * 8 - length
    kept = int.from_bytes(address) >> bits << bits
    return Prefix(kept.to_bytes(len(address)), length)


def _rule(seq: int, kind: int, flags: int, rule: Rule) -> bytes:
    body = _RULE.pack(rule.family, 0, 0, 0, 0, 0, 0, _FR_ACT_TO_TBL, 0)
    body += number_attribute(FRA_PRIORITY, rule.priority) + number_attribute(FRA_TABLE, rule.table)
    body += _SMALL_ATTRIBUTE.pack(_SMALL_ATTRIBUTE.size - 3, FRA_PROTOCOL, rule.protocol)
    return frame(seq, kind, NLM_F_REQUEST | flags, body)


def _head(layout: struct.Struct, message: NetlinkMessage) -> tuple[int, ...]:
    if len(message.body) < layout.size:
        raise NetlinkError(f"a message of type {message.kind}: {len(message.body)} bytes")
    return layout.unpack_from(message.body)
