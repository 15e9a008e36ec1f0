"""Links, addresses, rules and nexthop objects as netlink messages, by pyroute2's classes.

Each function encodes or decodes one message. Bytes and values only: `sockets` sends and receives,
and our own framing splits what one receive returns. Source: the kernel's linux/if_link.h,
if_addr.h, fib_rules.h and nexthop.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from pyroute2.netlink import nlmsg  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkDecodeError  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.fibmsg import fibmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # type: ignore[import-untyped]

from cuberouted.model import Prefix
from cuberouted.routing.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    RTM_DELADDR,
    RTM_DELNEXTHOP,
    RTM_DELRULE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEXTHOP,
    RTM_GETRULE,
    RTM_NEWADDR,
    RTM_NEWNEXTHOP,
    RTM_NEWRULE,
    NetlinkError,
    NetlinkMessage,
    frame,
)
from cuberouted.routing.types import Address, Link, Nexthop, Rule

_IFF_UP, _IFF_POINTOPOINT, _IFF_LOWER_UP = 0x1, 0x10, 0x10000
_IFA_F_NODAD, _IFA_F_OPTIMISTIC, _IFA_F_TENTATIVE, _IFA_F_NOPREFIXROUTE = 0x02, 0x04, 0x40, 0x200
_FOREVER = 0xFFFFFFFF
_RTEXT_FILTER_SKIP_STATS = 8
_FR_ACT_TO_TBL = 1
_RTNH_F_ONLINK = 4
_NO_SUPPRESS = 0xFFFFFFFF
_FIB_RULE_INVERT = 2
_RULE_ACTIONS = {2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_RULE_WORDS = {
    "FRA_SRC": "from",
    "FRA_DST": "to",
    "FRA_IIFNAME": "iif",
    "FRA_OIFNAME": "oif",
    "FRA_FWMARK": "fwmark",
    "FRA_FWMASK": "fwmask",
}
_RULE_ATTRIBUTES = ("FRA_PRIORITY", "FRA_TABLE", "FRA_PROTOCOL", "FRA_SUPPRESS_PREFIXLEN")
"""Attributes that every rule may have. Any other selects packets (also one that is new)."""

_DECODE_ERRORS = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    struct.error,
    NetlinkDecodeError,
)
"""What pyroute2 raises for malformed bytes (0.7 to 0.9)."""


class addrmsg(nlmsg):  # type: ignore[misc]  # noqa: N801 - named like pyroute2's classes
    """An address. pyroute2 before 0.9 does not know IFA_PROTO, and would leave it out in silence.

    Not a subclass of `ifaddrmsg`: pyroute2 would use the attributes of whichever class it has
    used first.
    """

    prefix = "IFA_"
    fields = ifaddrmsg.fields
    nla_map = (
        ("IFA_UNSPEC", "hex"),
        ("IFA_ADDRESS", "ipaddr"),
        ("IFA_LOCAL", "ipaddr"),
        ("IFA_LABEL", "asciiz"),
        ("IFA_BROADCAST", "ipaddr"),
        ("IFA_ANYCAST", "ipaddr"),
        ("IFA_CACHEINFO", "cacheinfo"),
        ("IFA_MULTICAST", "ipaddr"),
        ("IFA_FLAGS", "uint32"),
        ("IFA_RT_PRIORITY", "uint32"),
        ("IFA_TARGET_NETNSID", "hex"),
        ("IFA_PROTO", "uint8"),
    )
    cacheinfo = ifaddrmsg.cacheinfo


class nhmsg(nlmsg):  # type: ignore[misc]  # noqa: N801 - named like pyroute2's classes
    """A nexthop object (linux/nexthop.h), which pyroute2 does not have."""

    prefix = "NHA_"
    fields = (
        ("family", "B"),
        ("scope", "B"),
        ("protocol", "B"),
        ("resvd", "B"),
        ("flags", "I"),
    )
    nla_map = (
        ("NHA_UNSPEC", "none"),
        ("NHA_ID", "uint32"),
        ("NHA_GROUP", "hex"),
        ("NHA_GROUP_TYPE", "uint16"),
        ("NHA_BLACKHOLE", "flag"),
        ("NHA_OIF", "uint32"),
        ("NHA_GATEWAY", "cdata"),
    )


class LinkRow(NamedTuple):
    """A link. Addresses arrive in separate RTM_NEWADDR messages."""

    device: int
    name: str
    flags: int
    altnames: tuple[str, ...] = ()


class AddressRow(NamedTuple):
    """An address of the link ``device``. ``protocol``: 0 if it bears no number."""

    device: int
    address: Address
    protocol: int = 0


# -- links and addresses --


def dump_links(seq: int) -> bytes:
    """Request every link."""
    attributes = [("IFLA_EXT_MASK", _RTEXT_FILTER_SKIP_STATS)]
    return _encode(ifinfmsg, seq, RTM_GETLINK, NLM_F_DUMP, {}, attributes)


def dump_addresses(seq: int) -> bytes:
    """Request every address."""
    return _encode(addrmsg, seq, RTM_GETADDR, NLM_F_DUMP, {}, [])


def read_link(message: NetlinkMessage) -> LinkRow:
    """The link in an RTM_NEWLINK.

    Raises:
      NetlinkError: malformed.
    """
    types = {"IFLA_IFNAME": str, "IFLA_PROP_LIST": ifinfmsg.proplist}
    fields, attributes = _decode(ifinfmsg, message, types)
    properties = attributes["IFLA_PROP_LIST"]
    return LinkRow(
        fields["index"],
        attributes["IFLA_IFNAME"] or "",
        fields["flags"],
        tuple(properties.altnames()) if properties is not None else (),
    )


def read_address(message: NetlinkMessage) -> AddressRow | None:
    """The address in an RTM_NEWADDR, or None if it cannot be used yet.

    Raises:
      NetlinkError: malformed.
    """
    types = {"IFA_ADDRESS": str, "IFA_LOCAL": str, "IFA_FLAGS": int, "IFA_PROTO": int}
    fields, attributes = _decode(addrmsg, message, types)
    flags = attributes["IFA_FLAGS"] or fields["flags"]
    # IFA_ADDRESS is the address itself, or the other end of a point-to-point link
    other = attributes["IFA_ADDRESS"]
    tentative = flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC
    if tentative or other is None or fields["family"] not in (socket.AF_INET, socket.AF_INET6):
        return None
    local = attributes["IFA_LOCAL"] or other
    try:
        packed, length = socket.inet_pton(fields["family"], other), fields["prefixlen"]
        if length > 8 * len(packed):
            raise NetlinkError(f"an address with prefix length {length}")
        address = Address(socket.inet_pton(fields["family"], local), _network(packed, length))
    except (OSError, ValueError) as error:
        raise NetlinkError(f"an RTM_NEWADDR with address {other!r}: {error}") from error
    return AddressRow(fields["index"], address, attributes["IFA_PROTO"] or 0)


def join(
    links: Iterable[LinkRow], addresses: Iterable[AddressRow], protocol: int = 0
) -> tuple[Link, ...]:
    """The links with their addresses, each in the kernel's order. *protocol*: ours."""
    by_device: dict[int, list[Address]] = {}
    ours: dict[int, set[bytes]] = {}
    for device, address, owner in addresses:
        by_device.setdefault(device, []).append(address)
        if owner and owner == protocol:
            ours.setdefault(device, set()).add(address.local)
    return tuple(
        Link(
            index=device,
            name=name,
            running=flags & _IFF_UP != 0 and flags & _IFF_LOWER_UP != 0,
            point_to_point=flags & _IFF_POINTOPOINT != 0,
            addresses=tuple(by_device.get(device, ())),
            altnames=altnames,
            ours=frozenset(ours.get(device, ())),
        )
        for device, name, flags, altnames in links
    )


def set_address(seq: int, device: int, address: bytes, protocol: int, *, present: bool) -> bytes:
    """Add host address *address* to *device*, or remove it. Fails if it is there, or is not."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    text = socket.inet_ntop(family, address)
    attributes: list[tuple[str, Any]] = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
    if present:
        attributes += [("IFA_FLAGS", _IFA_F_NODAD | _IFA_F_NOPREFIXROUTE), ("IFA_PROTO", protocol)]
    if present and family == socket.AF_INET6:
        # deprecated: this host's own connections never begin from it (RFC 6724 rule 3)
        attributes.append(("IFA_CACHEINFO", {"ifa_preferred": 0, "ifa_valid": _FOREVER}))
    fields = {"family": family, "prefixlen": 8 * len(address), "index": device}
    type_, flags = (RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL) if present else (RTM_DELADDR, 0)
    return _encode(addrmsg, seq, type_, flags, fields, attributes)


def _network(address: bytes, length: int) -> Prefix:
    shift = len(address) * 8 - length
    network = int.from_bytes(address) >> shift << shift
    return Prefix(network.to_bytes(len(address)), length)


# -- rules --


def dump_rules(seq: int, family: int) -> bytes:
    """Request the rules of *family*."""
    return _encode(fibmsg, seq, RTM_GETRULE, NLM_F_DUMP, {"family": family}, [])


def add_rule(seq: int, rule: Rule) -> bytes:
    """Add *rule*. Fails if it exists."""
    return _rule(seq, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule)


def delete_rule(seq: int, rule: Rule) -> bytes:
    """Delete the first rule with this priority, table and protocol.

    With this ``suppress``, or whatever it suppresses if that is -1.
    """
    return _rule(seq, RTM_DELRULE, 0, rule)


def read_rule(message: NetlinkMessage) -> Rule:
    """The rule in an RTM_NEWRULE or RTM_DELRULE.

    Raises:
      NetlinkError: malformed.
    """
    fields, attributes = _decode(fibmsg, message, dict.fromkeys(_RULE_ATTRIBUTES, int))
    suppress = attributes["FRA_SUPPRESS_PREFIXLEN"]
    selects = fields["src_len"] or fields["dst_len"] or fields["tos"] or fields["flags"]
    return Rule(
        fields["family"],
        attributes["FRA_PRIORITY"] or 0,
        attributes["FRA_TABLE"] or fields["table"],
        attributes["FRA_PROTOCOL"] or 0,
        -1 if suppress is None or suppress == _NO_SUPPRESS else suppress,
        conditional=bool(selects)
        or fields["action"] != _FR_ACT_TO_TBL
        or any(name not in _RULE_ATTRIBUTES for name, *_ in fields["attrs"]),
        text=_rule_text(fields),
    )


def _rule_text(rule: fibmsg) -> str:
    """What a rule selects, or does instead of consulting its table."""
    words = []
    for name, *_ in rule["attrs"]:
        if name in _RULE_ATTRIBUTES:
            continue
        try:
            value = rule.get_attr(name)
        except _DECODE_ERRORS as error:
            raise NetlinkError(f"a malformed {name} in a rule: {error}") from error
        if name in ("FRA_SRC", "FRA_DST"):
            value = f"{value}/{rule['src_len' if name == 'FRA_SRC' else 'dst_len']}"
        elif name == "FRA_FWMARK":
            value = hex(value) if isinstance(value, int) else value
        words.append(f"{_RULE_WORDS.get(name, name.lower())} {value}")
    if rule["tos"]:
        words.append(f"tos {rule['tos']:#x}")
    if rule["flags"] & _FIB_RULE_INVERT:
        words.insert(0, "not")
    if rule["action"] != _FR_ACT_TO_TBL:
        words.append(_RULE_ACTIONS.get(rule["action"], f"action {rule['action']}"))
    return " ".join(words)


def _rule(seq: int, type_: int, flags: int, rule: Rule) -> bytes:
    attributes = [
        ("FRA_PRIORITY", rule.priority),
        ("FRA_TABLE", rule.table),
        ("FRA_PROTOCOL", rule.protocol),
    ]
    if rule.suppress >= 0:
        attributes.append(("FRA_SUPPRESS_PREFIXLEN", rule.suppress))
    fields = {"family": rule.family, "action": _FR_ACT_TO_TBL}
    return _encode(fibmsg, seq, type_, flags, fields, attributes)


# -- nexthop objects --


def dump_nexthops(seq: int) -> bytes:
    """Request every nexthop object. The kernel cannot filter them by protocol."""
    return _encode(nhmsg, seq, RTM_GETNEXTHOP, NLM_F_DUMP, {}, [])


def get_nexthop(seq: int, id_: int) -> bytes:
    """Request the nexthop object with this id."""
    return _encode(nhmsg, seq, RTM_GETNEXTHOP, 0, {}, [("NHA_ID", id_)])


def write_nexthop(seq: int, nexthop: Nexthop, protocol: int, *, replace: bool) -> bytes:
    """Add *nexthop*; with *replace* change the existing one with that id.

    A gateway is reachable on the link whatever networks the device has (RTNH_F_ONLINK).
    """
    attributes: list[tuple[str, Any]] = [("NHA_ID", nexthop.id), ("NHA_OIF", nexthop.device)]
    if nexthop.gateway is not None:
        attributes.append(("NHA_GATEWAY", nexthop.gateway))
    fields = {
        "family": nexthop.family,
        "protocol": protocol,
        "flags": 0 if nexthop.gateway is None else _RTNH_F_ONLINK,
    }
    flags = NLM_F_REPLACE if replace else NLM_F_CREATE | NLM_F_EXCL
    return _encode(nhmsg, seq, RTM_NEWNEXTHOP, flags, fields, attributes)


def delete_nexthop(seq: int, nexthop: Nexthop) -> bytes:
    """Delete the nexthop object with that id, whoever owns it: the kernel compares only ids."""
    # every header field has to be zero, or the kernel answers EINVAL
    return _encode(nhmsg, seq, RTM_DELNEXTHOP, 0, {}, [("NHA_ID", nexthop.id)])


def read_nexthop(message: NetlinkMessage) -> tuple[Nexthop, int]:
    """The nexthop object in an RTM_NEWNEXTHOP or RTM_DELNEXTHOP, and its protocol.

    A group or blackhole has no device; its device is 0.

    Raises:
      NetlinkError: malformed.
    """
    types = {"NHA_ID": int, "NHA_OIF": int, "NHA_GATEWAY": bytes}
    fields, attributes = _decode(nhmsg, message, types)
    if not attributes["NHA_ID"]:
        raise NetlinkError("a nexthop object without an id")
    gateway = attributes["NHA_GATEWAY"]
    nexthop = Nexthop(
        attributes["NHA_ID"],
        fields["family"],
        attributes["NHA_OIF"] or 0,
        None if gateway is None else bytes(gateway),
    )
    return nexthop, fields["protocol"]


# -- one message --

MessageT = TypeVar("MessageT", bound=nlmsg)


def _encode(
    class_: type[MessageT],
    seq: int,
    type_: int,
    flags: int,
    fields: dict[str, int],
    attributes: list[tuple[str, Any]],
) -> bytes:
    message = class_()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message["header"]["type"] = type_
    message["header"]["flags"] = NLM_F_REQUEST | flags
    message["header"]["sequence_number"] = seq
    message.encode()
    return bytes(message.data)


def _decode(
    class_: type[MessageT], message: NetlinkMessage, types: Mapping[str, type]
) -> tuple[MessageT, dict[str, Any]]:
    """The message's fields, and the attributes that *types* names; None for those it lacks."""
    try:
        decoded = class_(frame(message.seq, message.type, message.flags, message.body))
        decoded.decode()
        attributes = {name: decoded.get_attr(name) for name in types}
    except _DECODE_ERRORS as error:
        raise NetlinkError(f"a malformed message of type {message.type}: {error}") from error
    for name, value in attributes.items():
        # where an attribute has the wrong length, pyroute2 returns its bytes as they are
        if value is not None and not isinstance(value, types[name]):
            raise NetlinkError(f"a malformed {name} in a message of type {message.type}")
    return decoded, attributes
