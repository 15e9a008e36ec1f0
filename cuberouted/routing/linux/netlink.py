"""Netlink's framing: messages, their attributes, and the kernel's verdicts.

Bytes and values only; who sends and receives them is `sockets`. What the messages say
of routes and nexthops is in `routemsg`, of links, addresses and rules in `linkmsg`.
Source: the kernel's linux/netlink.h.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from cuberouted.routing.kernel_api import KernelError

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x01, 0x04, 0x10
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200

_HEADER = struct.Struct("=IHHII")
_HEAD = struct.Struct("=IHH")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER_ATTRIBUTE = struct.Struct("=HHI")
_ERROR = struct.Struct("=i")
_TYPE_MASK = 0x3FFF
_ATTR_MSG = 1  # NLMSGERR_ATTR_MSG


class NetlinkError(KernelError):
    """Bytes that are not the netlink message that they claim to be."""


class NetlinkMessage(NamedTuple):
    """One netlink message. ``port``: who asked for what it tells, 0 for the kernel itself."""

    kind: int
    flags: int
    seq: int
    port: int
    body: bytes


class Ack(NamedTuple):
    """The kernel's answer to request ``seq``: 0 or an errno, and its words if it has any."""

    seq: int
    errno: int
    why: str

    @property
    def said(self) -> str:
        """The kernel's words, or else the errno's."""
        return self.why or os.strerror(self.errno)


def messages(data: bytes) -> Iterator[NetlinkMessage]:
    """The messages in what one receive gave.

    Raises:
      NetlinkError: a length that cannot be; what came before it has been given.
    """
    start, size = 0, len(data)
    while size - start >= _HEADER.size:
        length, kind, flags, seq, port = _HEADER.unpack_from(data, start)
        if length < _HEADER.size or length > size - start:
            raise NetlinkError(f"a message of {length} bytes, where {size - start} are left")
        yield NetlinkMessage(kind, flags, seq, port, data[start + _HEADER.size : start + length])
        start += (length + 3) & ~3


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """The attributes that begin at *start*, by type; of a repeated one the last.

    Raises:
      NetlinkError: a length that cannot be.
    """
    found = {}
    left, unpack = len(body) - start, _ATTRIBUTE.unpack_from
    while left >= 4:
        length, kind = unpack(body, start)
        if length < 4 or length > left:
            raise NetlinkError(f"an attribute of {length} bytes, where {left} are left")
        found[kind & _TYPE_MASK] = body[start + 4 : start + length]
        step = (length + 3) & ~3
        start, left = start + step, left - step
    return found


def read_ack(message: NetlinkMessage) -> Ack:
    """What an NLMSG_ERROR or NLMSG_DONE says. An acknowledgement is errno 0.

    Raises:
      NetlinkError: too short, or malformed.
    """
    body = message.body
    if len(body) < _ERROR.size:
        raise NetlinkError(f"a verdict of {len(body)} bytes")
    why = b""
    if message.flags & NLM_F_ACK_TLVS:
        why = attributes(body, _words_at(message)).get(_ATTR_MSG, b"")
    code = -_ERROR.unpack_from(body)[0]
    return Ack(message.seq, code, why.rstrip(b"\0").decode("utf-8", "replace"))


def _words_at(message: NetlinkMessage) -> int:
    """Where the attributes of a verdict begin: after the code and what it repeats of ours."""
    if message.kind == NLMSG_DONE:
        return _ERROR.size
    if message.flags & NLM_F_CAPPED:
        return _ERROR.size + _HEADER.size
    return _ERROR.size + ((number(message.body[4:8]) + 3) & ~3)


def number(value: bytes | None, default: int = 0) -> int:
    """An attribute's value as the unsigned 32-bit number that it is; *default* for None.

    Raises:
      NetlinkError: it is no such number.
    """
    if value is None:
        return default
    if len(value) != 4:
        raise NetlinkError(f"{len(value)} bytes where a number of 4 should be")
    return int.from_bytes(value, sys.byteorder)


def frame(seq: int, kind: int, flags: int, body: bytes) -> bytes:
    """A whole message; *body* is a multiple of four bytes."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, seq, 0) + body


def head(kind: int, flags: int, size: int) -> bytes:
    """The first eight bytes of a message of *size* bytes; sequence and port follow."""
    return _HEAD.pack(size, kind, flags)


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute; *value* is a multiple of four bytes."""
    return attribute_head(kind, len(value)) + value


def attribute_head(kind: int, size: int) -> bytes:
    """What stands before an attribute's value of *size* bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + size, kind)


def number_attribute(kind: int, value: int) -> bytes:
    """An attribute that is an unsigned 32-bit number."""
    return _NUMBER_ATTRIBUTE.pack(_NUMBER_ATTRIBUTE.size, kind, value)


def ack_barrier(seq: int) -> bytes:
    """A message that does nothing but be acknowledged, once all before it has been done."""
    return frame(seq, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, b"")
