"""A packet filter that spares the listening socket what we have no use for.

A batch of ours makes 20,000 notices, which would overflow the socket that listens, and
which tell nothing new. Classic BPF, which the kernel runs on every message that is about
to be queued. Source: the kernel's Documentation/networking/filter.rst, linux/rtnetlink.h.
"""

from __future__ import annotations

import struct

from cuberouted.routing.linux.routemsg import RTM_DELROUTE, RTM_F_CLONED, RTM_NEWROUTE

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_IF_EQUAL, _IF_SET, _RETURN = 0x15, 0x45, 0x06
_TYPE, _PORT = 4, 12  # in struct nlmsghdr
_TABLE, _PROTOCOL, _FLAGS = 16 + 4, 16 + 5, 16 + 8  # in the struct rtmsg behind it
_LOCAL_TABLE = 255
_INSTRUCTION = struct.Struct("=HBBI")
STEP = _INSTRUCTION.size
"""Bytes of one step of a program."""


def own_changes_filter(port: int, protocol: int) -> bytes:
    """The filter as an array of struct sock_filter.

    Dropped is what the socket *port* has caused, routes of the table local, cached
    routes, and what the kernel tells of deleting a route of *protocol* by itself: it
    does so, for IPv6 alone, for every route of a nexthop that goes, and then the
    nexthop's, link's or address's own notice says enough.
    """
    keep, drop = 15, 16
    steps = (
        (_LOAD_WORD, _PORT, 1, 1),
        (_IF_EQUAL, _as_loaded(port, "=I"), drop, 2),
        (_LOAD_HALF, _TYPE, 3, 3),
        (_IF_EQUAL, _as_loaded(RTM_NEWROUTE, "=H"), 5, 4),
        (_IF_EQUAL, _as_loaded(RTM_DELROUTE, "=H"), 5, keep),
        (_LOAD_BYTE, _TABLE, 6, 6),
        (_IF_EQUAL, _LOCAL_TABLE, drop, 7),
        (_LOAD_WORD, _FLAGS, 8, 8),
        (_IF_SET, _as_loaded(RTM_F_CLONED, "=I"), drop, 9),
        (_LOAD_HALF, _TYPE, 10, 10),
        (_IF_EQUAL, _as_loaded(RTM_DELROUTE, "=H"), 11, keep),
        (_LOAD_BYTE, _PROTOCOL, 12, 12),
        (_IF_EQUAL, protocol, 13, keep),
        (_LOAD_WORD, _PORT, 14, 14),
        (_IF_EQUAL, 0, drop, keep),
        (_RETURN, 0xFFFFFFFF, 16, 16),
        (_RETURN, 0, 17, 17),
    )
    return b"".join(
        # a jump counts from the step that follows it; a load's or return's counts stay zero
        _INSTRUCTION.pack(code, yes - at - 1, no - at - 1, value)
        for at, (code, value, yes, no) in enumerate(steps)
    )


def _as_loaded(value: int, layout: str) -> int:
    """A number of the message's, which has our byte order, as the filter's loads see it."""
    return int.from_bytes(struct.pack(layout, value))
