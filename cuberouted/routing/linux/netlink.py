"""Netlink's framing: messages, attributes, acknowledgements. Bytes and values only.

`sockets` sends and receives them. `routemsg` packs routes, `linkmsg` links, addresses, rules and
nexthop objects. Source: the kernel's linux/netlink.h and linux/rtnetlink.h.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from cuberouted.routing.kernel_api import KernelError

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x01, 0x04, 0x10
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, seq, port
_HEADER_START = struct.Struct("=IHH")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER_ATTRIBUTE = struct.Struct("=HHI")
_ERRNO = struct.Struct("=i")
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_NLMSGERR_ATTR_MSG = 1


class NetlinkError(KernelError):
    """Bytes that are not a valid netlink message of their type."""


class NetlinkMessage(NamedTuple):
    """One message. ``port``: the socket whose request caused it, 0 for the kernel itself."""

    type: int
    flags: int
    seq: int
    port: int
    body: bytes


class Ack(NamedTuple):
    """The kernel's acknowledgement of request ``seq``: errno 0 for success.

    ``message`` is the extended acknowledgement's text, or empty.
    """

    seq: int
    errno: int
    message: str

    @property
    def reason(self) -> str:
        """The extended acknowledgement's text, or else the errno's."""
        return self.message or os.strerror(self.errno)


def messages(data: bytes) -> Iterator[NetlinkMessage]:
    """The messages in the bytes of one receive.

    Raises:
      NetlinkError: an impossible length; the messages before it have been yielded.
    """
    start, size = 0, len(data)
    while size - start >= _HEADER.size:
        length, type_, flags, seq, port = _HEADER.unpack_from(data, start)
        if length < _HEADER.size or length > size - start:
            raise NetlinkError(f"a message of {length} bytes where {size - start} are left")
        yield NetlinkMessage(type_, flags, seq, port, data[start + _HEADER.size : start + length])
        start += (length + 3) & ~3


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """The attributes from *start* on, by type. Of repeated ones the last counts.

    Raises:
      NetlinkError: an impossible length.
    """
    found = {}
    left, unpack = len(body) - start, _ATTRIBUTE.unpack_from
    while left >= 4:
        length, type_ = unpack(body, start)
        if length < 4 or length > left:
            raise NetlinkError(f"an attribute of {length} bytes where {left} are left")
        found[type_ & _TYPE_MASK] = body[start + 4 : start + length]
        step = (length + 3) & ~3
        start, left = start + step, left - step
    return found


def read_ack(message: NetlinkMessage) -> Ack:
    """The acknowledgement in an NLMSG_ERROR or NLMSG_DONE.

    Raises:
      NetlinkError: malformed.
    """
    body = message.body
    if len(body) < _ERRNO.size:
        raise NetlinkError(f"an acknowledgement of {len(body)} bytes")
    text = b""
    if message.flags & NLM_F_ACK_TLVS:
        text = attributes(body, _ack_attributes_at(message)).get(_NLMSGERR_ATTR_MSG, b"")
    code = -_ERRNO.unpack_from(body)[0]
    return Ack(message.seq, code, text.rstrip(b"\0").decode("utf-8", "replace"))


def _ack_attributes_at(message: NetlinkMessage) -> int:
    """Offset of an acknowledgement's attributes: behind the errno and the repeated request."""
    if message.type == NLMSG_DONE:
        return _ERRNO.size
    if message.flags & NLM_F_CAPPED:
        return _ERRNO.size + _HEADER.size
    return _ERRNO.size + ((number(message.body[4:8]) + 3) & ~3)


def number(value: bytes | None, default: int = 0) -> int:
    """An attribute's unsigned 32-bit value; *default* for None.

    Raises:
      NetlinkError: it is not four bytes long.
    """
    if value is None:
        return default
    if len(value) != 4:
        raise NetlinkError(f"{len(value)} bytes where a 32-bit number is expected")
    return int.from_bytes(value, sys.byteorder)


def frame(seq: int, type_: int, flags: int, body: bytes) -> bytes:
    """A whole message. *body* is a multiple of four bytes."""
    return _HEADER.pack(_HEADER.size + len(body), type_, flags, seq, 0) + body


def frame_start(type_: int, flags: int, size: int) -> bytes:
    """The first eight bytes of a message of *size* bytes; sequence number and port follow."""
    return _HEADER_START.pack(size, type_, flags)


def attribute(type_: int, value: bytes) -> bytes:
    """An attribute. *value* is a multiple of four bytes."""
    return attribute_header(type_, len(value)) + value


def attribute_header(type_: int, size: int) -> bytes:
    """The four bytes in front of an attribute's value of *size* bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + size, type_)


def number_attribute(type_: int, value: int) -> bytes:
    """An attribute with an unsigned 32-bit value."""
    return _NUMBER_ATTRIBUTE.pack(_NUMBER_ATTRIBUTE.size, type_, value)


def ack_barrier(seq: int) -> bytes:
    """A message without effect. The kernel acknowledges it after everything sent before it."""
    return frame(seq, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, b"")
