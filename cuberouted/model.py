"""The values that every room shares.

Everything here is frozen, compares by value, and knows nothing of sockets, time or
configuration. Addresses are packed bytes, because that is what netlink and the wire
carry and what sorts and hashes fastest at 20,000 clients; text is for people.
"""

from __future__ import annotations

import enum
import socket
from typing import Annotated, NamedTuple

import attrs
import msgspec

MAIN_TABLE = 254
"""RT_TABLE_MAIN of linux/rtnetlink.h."""

MAX_VERSION = 2**62
"""Versions stay below this, so that a signed 64-bit integer holds every one with room to spare."""

MAX_ADVERTISEMENTS = 2**20
"""Prefixes that one peer may advertise at most, whatever the configuration allows. The queues
of the transport are sized for a snapshot of this many."""


class Prefix(NamedTuple):
    """An IPv4 or IPv6 network; a host is a /32 or /128.

    ``address`` is packed in network order: 4 bytes for IPv4, 16 for IPv6; the bits
    behind ``length`` are zero (`parse` and `validated` see to it).
    """

    address: bytes
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """The prefix that *text* writes: ``10.9.0.50``, ``fd00::5`` or ``192.168.50.0/24``.

        Raises:
          ValueError: not an address, or bits set behind the length.
        """
        host, slash, length = text.partition("/")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            address = socket.inet_pton(family, host)
        except (OSError, ValueError):  # ValueError: a NUL, or what no encoding writes
            raise ValueError(f"{text!r} is not an IP address") from None
        if not slash:
            return cls(address, len(address) * 8)
        if not (length.isascii() and length.isdigit()):
            raise ValueError(f"{text!r}: {length!r} is not a prefix length")
        return cls(address, int(length)).validated()

    @classmethod
    def host(cls, address: bytes) -> Prefix:
        """The prefix of this one packed address."""
        return cls(address, len(address) * 8)

    def validated(self) -> Prefix:
        """This prefix, if it is one.

        Raises:
          ValueError: a length no family has, or bits set behind ``length``.
        """
        bits = len(self.address) * 8
        if bits not in (32, 128) or not 0 <= self.length <= bits:
            raise ValueError(f"no prefix: {len(self.address)} bytes / {self.length}")
        if int.from_bytes(self.address) & ((1 << (bits - self.length)) - 1):
            raise ValueError(f"{self} has bits set behind its length")
        return self

    @property
    def family(self) -> int:
        """``AF_INET`` or ``AF_INET6``."""
        return socket.AF_INET if len(self.address) == 4 else socket.AF_INET6

    @property
    def is_host(self) -> bool:
        """Whether this is one address."""
        return self.length == len(self.address) * 8

    def contains(self, other: Prefix) -> bool:
        """Whether every address of *other* is in this prefix."""
        mine, length = self
        theirs, longer = other
        if len(mine) != len(theirs) or length > longer:
            return False
        shift = len(mine) * 8 - length
        return int.from_bytes(mine) >> shift == int.from_bytes(theirs) >> shift

    def __str__(self) -> str:
        return f"{format_address(self.address)}/{self.length}"


def format_address(address: bytes) -> str:
    """A packed address as people write it."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


class Kind(enum.StrEnum):
    """What stands behind a prefix."""

    CLIENT = "client"
    NETWORK = "network"
    SERVER = "server"


class Advertisement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One node's claim that *prefix* is reached through it.

    A msgspec struct rather than an attrs class, so that the wire's codec reads and
    writes it without a copy. ``name`` is the common name as OpenVPN has it: any bytes
    but control characters. ``version`` orders the claims on one prefix (`rib.better`).
    ``confirmed``: the node's own complete listing has shown the session. ``since``: when the
    session began, in Unix seconds of that node's clock, for people; 0 where there is no session.
    """

    prefix: Prefix
    kind: Kind
    name: Annotated[bytes, msgspec.Meta(max_length=512)]
    version: Annotated[int, msgspec.Meta(ge=1, lt=MAX_VERSION)]
    confirmed: bool
    since: Annotated[int, msgspec.Meta(ge=0, lt=MAX_VERSION)] = 0


class SessionId(NamedTuple):
    """What tells one client session of an OpenVPN process from every other.

    OpenVPN's client id alone is no key: it starts at 0 again after SIGUSR1 and SIGHUP.
    ``since`` is the connection's start, in Unix seconds of that server's clock.
    """

    cid: int
    since: int


@attrs.frozen
class LocalRoute:
    """A prefix that a session of our own OpenVPN holds, as the openvpn room tells it.

    ``announced``: first heard of by ``>CLIENT:ESTABLISHED``, not found in a listing.
    ``confirmed``: a complete listing has shown it.
    """

    prefix: Prefix
    kind: Kind
    name: bytes
    session: SessionId
    announced: bool
    confirmed: bool


@attrs.frozen
class SupersededSession:
    """A session of our own OpenVPN whose client has since connected elsewhere.

    ``prefix`` is what it lost, ``name`` the common name on both sides, ``node`` where
    the client is now.
    """

    prefix: Prefix
    name: bytes
    session: SessionId
    node: str


def printable_name(name: bytes) -> str:
    """A common name for people: UTF-8 where it is, everything unprintable escaped."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
