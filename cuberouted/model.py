"""The values that all packages share: prefixes, advertisements, sessions.

They are frozen and compare by value. Addresses are packed bytes, as netlink and the messages
between peers have them; with 20,000 clients these sort and hash fastest. Text is for people only.
"""

from __future__ import annotations

import enum
import socket
from typing import Annotated, NamedTuple

import attrs
import msgspec

from cuberouted.service_claim import ServiceClaim

MAIN_TABLE = 254
"""RT_TABLE_MAIN of linux/rtnetlink.h."""

MAX_VERSION = 2**62
"""Versions stay below this, so that a signed 64-bit integer holds every one with room to spare."""

MAX_ADVERTISEMENTS = 2**20
"""Prefixes that one peer may advertise at most, whatever the configuration allows. The queues
of the transport are sized for a snapshot of this many."""


class Prefix(NamedTuple):
    """An IPv4 or IPv6 network; a host is a /32 or /128.

    ``address`` is packed in network order: 4 bytes for IPv4, 16 for IPv6. The bits beyond
    ``length`` are zero, which only `parse` and `validated` check.
    """

    address: bytes
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Parse a prefix: ``10.9.0.50``, ``fd00::5`` or ``192.168.50.0/24``.

        Raises:
          ValueError: not an address or network, or host bits set.
        """
        host, slash, length = text.partition("/")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            address = socket.inet_pton(family, host)
        except (OSError, ValueError):  # ValueError: a NUL byte or a lone surrogate
            raise ValueError(f"{text!r} is not an IP address") from None
        if not slash:
            return cls(address, len(address) * 8)
        if not (length.isascii() and length.isdigit()):
            raise ValueError(f"{text!r}: {length!r} is not a prefix length")
        return cls(address, int(length)).validated()

    @classmethod
    def host(cls, address: bytes) -> Prefix:
        """The prefix of one packed address."""
        return cls(address, len(address) * 8)

    def validated(self) -> Prefix:
        """This prefix, if it is valid.

        Raises:
          ValueError: wrong address size, ``length`` out of range, or host bits set.
        """
        bits = len(self.address) * 8
        if bits not in (32, 128) or not 0 <= self.length <= bits:
            raise ValueError(f"not a prefix: {len(self.address)} bytes / {self.length}")
        if int.from_bytes(self.address) & ((1 << (bits - self.length)) - 1):
            raise ValueError(f"{self} has host bits set")
        return self

    @property
    def family(self) -> int:
        """``AF_INET`` or ``AF_INET6``."""
        return socket.AF_INET if len(self.address) == 4 else socket.AF_INET6

    @property
    def is_host(self) -> bool:
        """Whether this is a single address."""
        return self.length == len(self.address) * 8

    @property
    def short(self) -> str:
        """As people write it: a host without its length, a network with it."""
        return format_address(self.address) if self.is_host else str(self)

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


NOT_UNICAST = tuple(
    map(
        Prefix.parse,
        # this host, loopback, link-local, multicast and reserved: RFC 6890, RFC 4291 section 2.4
        (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "224.0.0.0/3",
            "::/127",
            "fe80::/10",
            "ff00::/8",
        ),
    )
)
"""Networks with no address that a client could have."""


def format_address(address: bytes) -> str:
    """A packed address as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


class Kind(enum.StrEnum):
    """What a prefix is: a client's address, a network behind a client, a server's data address, a
    shared service address.
    """

    CLIENT = "client"
    NETWORK = "network"
    SERVER = "server"
    SERVICE = "service"


# ``gc=False``: it refers to no object that could refer back, and there are very many.
class Advertisement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A route that one node offers: *prefix* is reached through it.

    ``name`` is the common name as OpenVPN has it: any bytes except control characters.
    ``version`` orders the routes to one prefix (`routing.rib.precedence`). ``confirmed``: a
    complete listing of that node's OpenVPN has shown the session. ``since``: the session's
    start, in Unix seconds of that node's clock, for people only; 0 without a session.
    ``service``: of kind SERVICE, and of no other; ``name`` is the service's, and ``version`` is 1.
    """

    # a msgspec struct, not an attrs class: messages are encoded and decoded without a copy

    prefix: Prefix
    kind: Kind
    name: Annotated[bytes, msgspec.Meta(max_length=512)]
    version: Annotated[int, msgspec.Meta(ge=1, lt=MAX_VERSION)]
    confirmed: bool
    since: Annotated[int, msgspec.Meta(ge=0, lt=MAX_VERSION)] = 0
    service: ServiceClaim | None = None


class SessionId(NamedTuple):
    """Identifies a client session of one OpenVPN process.

    The client id alone does not: OpenVPN restarts it at 0 after SIGUSR1 and SIGHUP. ``since``
    is the session's start, in Unix seconds of that server's clock.
    """

    cid: int
    since: int


# A listing creates one for each of 20,000 clients: 1.7 ms as a msgspec struct, 6.6 ms as a
# NamedTuple, 12.6 ms as a frozen attrs class.
class LocalRoute(msgspec.Struct, frozen=True, gc=False):
    """A route to a client session of an OpenVPN process on this host.

    ``announced``: it was first known from ``>CLIENT:ESTABLISHED``, not from a listing.
    ``confirmed``: a complete listing has shown it. ``renewed``: when the client last came back to
    this session, in Unix seconds of that server's clock; it grows with each time, and is 0 if the
    client has not.
    """

    prefix: Prefix
    kind: Kind
    name: bytes
    session: SessionId
    announced: bool
    confirmed: bool
    renewed: int = 0


@attrs.frozen
class SupersededSession:
    """A session on this host whose client has since connected to another server.

    ``prefix`` is the one to which another node has the best route now, ``name`` the common name
    on both sides, ``node`` that other node; on this host the OpenVPN process, as ``openvpn NAME``.
    ``version`` is the one of that route.
    """

    prefix: Prefix
    name: bytes
    session: SessionId
    node: str
    version: int = 0


class NodeState(enum.StrEnum):
    """Whether a node takes clients. DRAINING: it sends them on to the others. MAINTENANCE: it has
    none left, or only such as come back, and sends these on.
    """

    ACTIVE = "active"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


def in_words(state: str) -> str:
    """A `NodeState` in a sentence, after ``is``."""
    return "in maintenance" if state == "maintenance" else str(state)


MAX_BY = 200
"""Characters of the name of who changed a node's state."""
MAX_REASON = 500
"""Characters of the reason."""
MAX_REMOTES = 40
"""Addresses of OpenVPN processes that a node announces."""


class NodeInfo(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a node says of itself in its heartbeats.

    ``by``: who has changed ``state`` last, ``since``: when, ``until``: when it becomes active by
    itself (both Unix seconds, 0: never), ``reason``: why; all for people, and empty in a node that
    never was anything but active. ``clients``: as its OpenVPN processes count them. ``capacity``:
    how many it should have at most, 0: not configured. ``remotes``: its OpenVPN processes, as in
    OpenVPN's option ``remote``: ``vpn1.example.org 1194 udp``.
    """

    state: NodeState = NodeState.ACTIVE
    by: Annotated[str, msgspec.Meta(max_length=MAX_BY)] = ""
    since: Annotated[int, msgspec.Meta(ge=0, lt=MAX_VERSION)] = 0
    until: Annotated[int, msgspec.Meta(ge=0, lt=MAX_VERSION)] = 0
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON)] = ""
    clients: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    capacity: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    remotes: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=300)], ...],
        msgspec.Meta(max_length=MAX_REMOTES),
    ] = ()


class FileKind(enum.StrEnum):
    """What OpenVPN servers of one mesh have to share, besides their authority.

    CCD: the directory of its option client-config-dir. CRL: crl-verify. TLS_KEY: tls-crypt,
    tls-crypt-v2 or tls-auth. TOKEN_SECRET: auth-gen-token-secret.
    """

    CCD = "ccd"
    CRL = "crl"
    TLS_KEY = "tls_key"
    TOKEN_SECRET = "token_secret"  # noqa: S105 - a word of the protocol


DIGEST_BYTES = 16
MAX_DIGESTS = 10_000
"""Digests of one node in one comparison: files of its directories, and single files."""


class Fingerprint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one OpenVPN process has of one kind of file, for comparison with another node's.

    ``digests``: of each file `DIGEST_BYTES`, sorted, without a separator; empty: it uses none.
    They depend on a nonce, so that they tell nothing to who does not know it. ``why``: why there
    are none, or empty.
    """

    kind: FileKind
    openvpn: Annotated[str, msgspec.Meta(max_length=255)]
    digests: Annotated[bytes, msgspec.Meta(max_length=DIGEST_BYTES * MAX_DIGESTS)] = b""
    why: Annotated[str, msgspec.Meta(max_length=300)] = ""


def printable(text: str) -> str:
    """*text* in one line, with everything unprintable escaped, for logs and terminals."""
    return printable_name(text.encode("utf-8", "backslashreplace"))


def printable_name(name: bytes) -> str:
    """A common name for people: UTF-8, with everything unprintable escaped."""
    text = name.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
