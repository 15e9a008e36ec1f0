"""Links, addresses and rules as netlink messages, by pyroute2's message classes.

They are few, and pyroute2 knows them well. Its classes serve as a codec alone: its
sockets bring an event loop and threads of their own.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyroute2.netlink.exceptions import NetlinkDecodeError  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.fibmsg import fibmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # type: ignore[import-untyped]

from cuberouted.model import Prefix
from cuberouted.routing.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    Message,
    NetlinkError,
    frame,
)
from cuberouted.routing.values import Address, Link

RTM_GETLINK, RTM_GETADDR = 18, 22
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

_IFF_UP, _IFF_POINTOPOINT, _IFF_LOWER_UP = 0x1, 0x10, 0x10000
_IFA_F_OPTIMISTIC, _IFA_F_TENTATIVE = 0x04, 0x40
_SKIP_STATS = 8  # RTEXT_FILTER_SKIP_STATS
_FR_ACT_TO_TBL = 1


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
    return _packed(ifinfmsg, seq, RTM_GETLINK, NLM_F_DUMP, {}, IFLA_EXT_MASK=_SKIP_STATS)


def dump_addresses(seq: int) -> bytes:
    """Asks for every address."""
    return _packed(ifaddrmsg, seq, RTM_GETADDR, NLM_F_DUMP, {})


def dump_rules(seq: int, family: int) -> bytes:
    """Asks for the rules of *family*."""
    return _packed(fibmsg, seq, RTM_GETRULE, NLM_F_DUMP, {"family": family})


def add_rule(seq: int, rule: Rule) -> bytes:
    """Adds *rule*, and fails if it is there."""
    return _rule(seq, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule)


def delete_rule(seq: int, rule: Rule) -> bytes:
    """Deletes a rule with all of these marks, its protocol among them."""
    return _rule(seq, RTM_DELRULE, 0, rule)


def read_link(message: Message) -> LinkRow:
    """The link that an RTM_NEWLINK tells of.

    Raises:
      NetlinkError: malformed.
    """
    with _reading(message):
        link = _parsed(ifinfmsg, message)
        return LinkRow(link["index"], str(link.get_attr("IFLA_IFNAME")), link["flags"])


def read_address(message: Message) -> AddressRow | None:
    """The address that an RTM_NEWADDR tells of; None for one that is no use yet.

    Raises:
      NetlinkError: malformed.
    """
    with _reading(message):
        row = _parsed(ifaddrmsg, message)
        family, length = row["family"], row["prefixlen"]
        flags = row.get_attr("IFA_FLAGS") or row["flags"]
        other = row.get_attr("IFA_ADDRESS")  # the network's, or the other end of a link
        untested = flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC
        if untested or other is None or family not in (socket.AF_INET, socket.AF_INET6):
            return None
        local = socket.inet_pton(family, row.get_attr("IFA_LOCAL") or other)
        network = _masked(socket.inet_pton(family, other), length)
        return AddressRow(row["index"], Address(local, network))


def read_rule(message: Message) -> Rule:
    """The rule that an RTM_NEWRULE tells of.

    Raises:
      NetlinkError: malformed.
    """
    with _reading(message):
        row = _parsed(fibmsg, message)
        return Rule(
            row["family"],
            row.get_attr("FRA_PRIORITY") or 0,
            row.get_attr("FRA_TABLE") or row["table"],
            row.get_attr("FRA_PROTOCOL") or 0,
        )


def joined(links: Iterable[LinkRow], addresses: Iterable[AddressRow]) -> tuple[Link, ...]:
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
    return _packed(
        fibmsg,
        seq,
        kind,
        flags,
        {"family": rule.family, "action": _FR_ACT_TO_TBL},
        FRA_PRIORITY=rule.priority,
        FRA_TABLE=rule.table,
        FRA_PROTOCOL=rule.protocol,
    )


def _packed(
    message_class: Any, seq: int, kind: int, flags: int, fields: dict[str, int], **attrs: int
) -> bytes:
    message = message_class()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attrs.items())
    header = message["header"]
    header["type"], header["flags"], header["sequence_number"] = kind, NLM_F_REQUEST | flags, seq
    message.encode()
    return bytes(message.data)


def _parsed(message_class: Any, message: Message) -> Any:
    parsed = message_class(frame(message.seq, message.kind, message.flags, message.body))
    parsed.decode()
    return parsed


@contextmanager
def _reading(message: Message) -> Iterator[None]:
    # pyroute2 lets out whatever a malformed message made it stumble over
    try:
        yield
    except (NetlinkDecodeError, struct.error, TypeError, ValueError, OSError) as error:
        raise NetlinkError(f"a message of type {message.kind}: {error}") from error
