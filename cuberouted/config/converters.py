"""Converters of single values: the text after ``key =`` in, a value out.

Each raises ValueError if the text is not valid; the message completes "KEY: ...", says what is
wrong and gives an example. Addresses are checked with `ipaddress` and returned packed.
"""

from __future__ import annotations

import difflib
import ipaddress
import itertools
import re
import shlex
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar, get_args

from cuberouted.config.text import quote
from cuberouted.model import NOT_UNICAST, Prefix

T = TypeVar("T")

MAX_NAME = 64
"""Characters in the name of a node or of an OpenVPN process."""
MAX_PUBLIC_KEYS = 2
MAX_UINT32 = 2**32 - 1
_MAX_INTERFACE = 15  # IFNAMSIZ of linux/if.h, less the NUL
_MAX_DOMAIN = 253 - 64
_MAX_SOCKET_PATH = 107  # sun_path of linux/un.h, less the NUL
_CURVE_KEY_LENGTH = 40  # 32 bytes in Z85

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")
_ADDRESS_AND_MORE = re.compile(r"([\d.]{7,15}|\[[\da-fA-F:.]+\]|[\da-fA-F:.]+(?=[/\s]))[:/\s].*")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|)", re.ASCII)
_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_YES_NO: Final = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")  # RFC 791: never a destination
_NETMASKS: Final = {str(IPv4Address(MAX_UINT32 << (32 - n) & MAX_UINT32)): n for n in range(1, 33)}
_LOCAL_TABLE = 255  # RT_TABLE_LOCAL of linux/rtnetlink.h

# RTPROT_* of linux/rtnetlink.h; those up to 4 are the kernel's and the administrator's
_USED_PROTOCOLS: Final = MappingProxyType(
    {8: "gated", 9: "router advertisement", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted",
     14: "xorp", 15: "ntk", 16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 84: "ovn",
     99: "openr", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp"}
)  # fmt: skip


def name(text: str) -> str:
    """The name of a node, a peer or an OpenVPN process."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{quote(text)} is not a valid name (1 to {MAX_NAME} letters, digits, '.', '_' or '-';"
            " the first is a letter or digit)"
        )
    return text


def interface(text: str) -> str:
    """The name of a network interface, by the rules of the kernel's dev_valid_name()."""
    bad = any(c.isspace() or c in "/:" or not c.isprintable() for c in text)
    if bad or text in (".", "..") or len(text.encode("utf-8", "replace")) > _MAX_INTERFACE:
        raise ValueError(
            f"{quote(text)} is not a valid interface name (at most {_MAX_INTERFACE} characters, no"
            " white space, '/' or ':'; example: tun0)"
        )
    return text


def host(text: str) -> str:
    """A host name or address without a port."""
    address = _parsed_address(text)
    if address is not None:
        return str(address)
    if not _HOST.fullmatch(text):
        raise ValueError(
            f"{quote(text)} is not a valid host (an address or a host name, without a port;"
            " examples: 127.0.0.1, localhost)"
        )
    return text


def _ip_address(text: str) -> IPv4Address | IPv6Address:
    address = _parsed_address(text)
    if address is None:
        # 10.200.200.5/24, 10.200.200.5 255.255.255.0, 10.200.200.5:5657, [fd00::5]:5657
        more = _ADDRESS_AND_MORE.fullmatch(text)
        alone = _parsed_address(more[1].strip("[]")) if more else None
        if alone is not None:
            raise ValueError(f"{quote(text)} is more than an address: write {alone} alone")
        raise ValueError(f"{quote(text)} is not an IP address (example: 10.200.200.5)")
    return address


def _parsed_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        # an address with a scope (fe80::1%tun0) has no packed form
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def peer_address(text: str) -> bytes:
    """The unicast address of another host."""
    address = _ip_address(text)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            raise ValueError(f"{text} is an IPv4-mapped address: write {address.ipv4_mapped}")
        if address.is_link_local:
            raise ValueError(
                f"{text} is a link-local address: use an IPv4 or a unique local address (fd00::/8)"
            )
        unusable = address.is_unspecified
    else:
        unusable = address.is_reserved or address in _THIS_NETWORK
    if unusable or address.is_multicast:
        raise ValueError(f"{text} is not the address of a host (example: 10.200.200.5)")
    return address.packed


def listen_address(text: str) -> bytes:
    """An address of this host to bind to; 0.0.0.0 and :: stand for all its addresses."""
    address = _ip_address(text)
    return address.packed if address.is_unspecified else peer_address(text)


def networks(text: str) -> tuple[Prefix, ...]:
    """Networks that clients' addresses may be in, separated by commas or white space."""
    parts = _split(text)
    for before, mask in itertools.pairwise(parts):
        # OpenVPN's notation; only 255.* are told from addresses
        if mask.startswith("255.") and mask in _NETMASKS and "/" not in before:
            raise ValueError(
                f"{before} {mask} is not a valid network: write {_with_length(before, mask)}"
            )
    return listed(network)(text)


def network(text: str) -> Prefix:
    """A network that clients' addresses may be in."""
    address_text, slash, length = text.partition("/")
    address = _ip_address(address_text)
    bits = address.max_prefixlen
    if not slash:
        return _client_network(text, Prefix.host(address.packed))
    if length in _NETMASKS and isinstance(address, IPv4Address):
        raise ValueError(
            f"{text} is not a valid network: write {_with_length(address_text, length)}"
        )
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits):
        raise ValueError(f"{quote(text)} is not a valid network: the length is 0 to {bits}")
    whole = ipaddress.ip_network((address, int(length)), strict=False)
    if whole.network_address != address:
        raise ValueError(f"{text} has host bits set: write {whole}")
    if whole.prefixlen <= 1:
        raise ValueError(f"{text} covers the whole Internet: write the clients' networks")
    return _client_network(text, Prefix(address.packed, whole.prefixlen))


def _client_network(text: str, prefix: Prefix) -> Prefix:
    if any(one.contains(prefix) for one in NOT_UNICAST):
        raise ValueError(f"{text} contains no address of a client (example: 10.100.100.0/24)")
    return prefix


def _with_length(address: str, netmask: str) -> IPv4Network:
    packed = _ip_address(address)
    if packed.version == 6:
        raise ValueError(f"{address} is an IPv6 address, and {netmask} a netmask of IPv4")
    return IPv4Network((str(packed), _NETMASKS[netmask]), strict=False)


def public_key(text: str) -> bytes:
    """A public CURVE key in Z85, as `cuberouted keygen` prints it."""
    key = text.encode("utf-8", "replace")
    if not is_curve_key(key):
        raise ValueError(
            f"{quote(text)} is not a public key (40 characters, printed by `cuberouted keygen`)"
        )
    return key


def public_keys(text: str) -> tuple[bytes, ...]:
    """One public key, or the old and the new one while a peer changes its key."""
    keys = listed(public_key)(text)
    if len(keys) > MAX_PUBLIC_KEYS:
        raise ValueError(
            f"{len(keys)} keys are too many: write one, or during a change the old and the new one"
        )
    return keys


def is_curve_key(text: bytes) -> bool:
    """Whether *text* is 32 bytes in Z85 (https://rfc.zeromq.org/spec/32/)."""
    # imported here because it loads libzmq, which most commands do without
    from zmq.utils import z85

    if len(text) != _CURVE_KEY_LENGTH:
        return False
    try:
        z85.decode(text)
    except (KeyError, struct.error):  # not a Z85 character; five characters above 2**32 - 1
        return False
    return True


def listed(convert: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """A converter of several values, separated by commas or white space."""

    def convert_list(text: str) -> tuple[T, ...]:
        values = tuple(map(convert, _split(text)))
        if not values:
            raise ValueError(f"{quote(text)} contains no value")
        if len(set(values)) < len(values):
            raise ValueError("contains the same value twice: remove one of the two")
        return values

    return convert_list


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,]+", text) if part]


def number(low: int, high: int) -> Callable[[str], int]:
    """A converter of whole numbers from *low* to *high*."""

    def convert_number(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(high))
        if not digits or not low <= int(text) <= high:
            raise ValueError(f"{quote(text)} is not a whole number from {low} to {high}")
        return int(text)

    return convert_number


def duration(low: float, high: float = 86400.0) -> Callable[[str], float]:
    """A converter of durations from *low* to *high* seconds: ``300ms``, ``3``, ``1.5m``."""

    def convert_duration(text: str) -> float:
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError(f"{quote(text)} is not a valid duration (examples: 300ms, 3s, 5m)")
        seconds = float(match[1]) * _UNITS[match[2]]
        if not low <= seconds <= high:
            raise ValueError(f"{text} is out of range ({low:g}s to {high:g}s)")
        return seconds

    return convert_duration


def preempt(text: str) -> float | None:
    """A time after which a service is taken back; ``no``: never, which is None."""
    if text.lower() in _YES_NO:
        if _YES_NO[text.lower()]:
            raise ValueError(f"{quote(text)} is not a time: write after how long, such as 60s")
        return None
    return duration(0.0)(text)


def remotes(text: str) -> tuple[str, ...]:
    """Values of OpenVPN's option ``remote``, separated by commas: ``vpn1.example.org 1194 udp``."""
    return tuple(_remote(part.strip()) for part in text.split(","))


_PROTOCOLS: Final = ("udp", "udp4", "udp6", "tcp", "tcp4", "tcp6", "tcp-client", "tcp4-client",
                     "tcp6-client")  # fmt: skip
_DEFAULT_REMOTE: Final = ("1194", "udp")


def _remote(text: str) -> str:
    words = text.split()
    if not 1 <= len(words) <= 3:
        raise ValueError(
            f"{quote(text)} is not a remote: HOST [PORT [PROTO]]"
            " (example: vpn1.example.org 1194 udp)"
        )
    address, port, protocol = (*words, *_DEFAULT_REMOTE[len(words) - 1 :])
    if protocol not in _PROTOCOLS:
        raise ValueError(f"{quote(protocol)} is not a protocol of OpenVPN: {', '.join(_PROTOCOLS)}")
    return f"{host(address)} {number(1, 65535)(port)} {protocol}"


def yes_no(text: str) -> bool:
    """``yes``, ``true``, ``on``, ``no``, ``false`` or ``off``."""
    return choice(_YES_NO)(text)


def choice(values: dict[str, T]) -> Callable[[str], T]:
    """A converter of words to *values*; upper and lower case are the same."""

    def convert_choice(text: str) -> T:
        word = text.lower()
        if word not in values:
            raise ValueError(f"{quote(text)} is invalid; choose one of: {', '.join(values)}")
        return values[word]

    return convert_choice


def file_path(text: str) -> Path:
    """An absolute path."""
    # the daemon's working directory is /, so that a relative path is most likely a mistake
    if not text.startswith("/") or not text.isprintable():
        raise ValueError(f"{quote(text)} is not an absolute path (it has to begin with '/')")
    return Path(text)


def socket_path(text: str) -> Path:
    """An absolute path that is short enough for a Unix socket."""
    if len(text.encode("utf-8", "replace")) > _MAX_SOCKET_PATH:
        raise ValueError(
            f"{quote(text)} is too long for a socket (at most {_MAX_SOCKET_PATH} bytes)"
        )
    return file_path(text)


def command(text: str) -> tuple[str, ...]:
    """A program with its arguments, quoted as for a shell. No shell runs it."""
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:  # a quotation mark without its counterpart
        raise ValueError(f"{quote(text)} is not a valid command: {error}") from None
    if not argv or not argv[0].startswith("/") or not text.isprintable():
        raise ValueError(
            f"{quote(text)} is not a valid command (the absolute path of a program, and its"
            " arguments; example: /usr/local/bin/notify --quiet)"
        )
    return argv


def event_type(text: str) -> str:
    """A type of event that a hook can be run for."""
    # imported here because most commands do without
    from cuberouted.events import AnyEvent, Level

    levels = {event.__struct_config__.tag: event.LEVEL for event in get_args(AnyEvent)}
    if text not in levels:
        (near,) = difflib.get_close_matches(text.lower(), levels, n=1, cutoff=0.0)
        raise ValueError(f"{quote(text)} is not a type of event; the nearest is {near}")
    if levels[text] is Level.DEBUG:
        raise ValueError(f"{text} is too frequent for a hook: remove it")
    return text


def generated_file(text: str) -> Path:
    """The absolute path of a file that the daemon replaces."""
    path = file_path(text)
    if path == Path("/etc/hosts"):
        raise ValueError(
            f"{path} is the host's own file: name another, which contains only clients"
        )
    if path.name.startswith("."):
        raise ValueError(
            f"the name of {quote(text)} begins with a dot: readers of a directory ignore it"
        )
    return path


def domain(text: str) -> str:
    """A DNS domain, in lower case and without the dot at the end."""
    name = text.removesuffix(".")
    # with a label of 63 characters and its dot, a name in it has at most 253
    if not _HOST.fullmatch(name) or len(name) > _MAX_DOMAIN:
        raise ValueError(f"{quote(text)} is not a valid domain (example: vpn.example.org)")
    return name.lower()


class ListenAddress(NamedTuple):
    """An IP address of this host, as text, and a TCP port. 0.0.0.0 and :: are all addresses."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else ":".join(map(str, self))


def web_listen(text: str) -> ListenAddress:
    """An address of this host and a port, as ``127.0.0.1:9657``, ``[::1]:9657``."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    address = _parsed_address("127.0.0.1" if bare == "localhost" and not bracketed else bare)
    if not colon or address is None or bracketed is not isinstance(address, IPv6Address):
        raise ValueError(
            f"{quote(text)} is not an IP address and a port (examples: 127.0.0.1:9657, [::1]:9657)"
        )
    try:
        return ListenAddress(str(address), number(1, 65535)(port))
    except ValueError as error:
        raise ValueError(f"port {error}") from None


def web_host(text: str) -> str:
    """A host name or address as it stands in a Host header, in lower case and without a port."""
    address = _parsed_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    # the connection of one is that of an IPv4 address
    return str(mapped) if mapped else host(text.removesuffix(".")).lower()


def route_table(text: str) -> int:
    """The number of a routing table. `build.parse` has replaced names by numbers before."""
    if not text.isdecimal():
        raise ValueError(
            f"{quote(text)} is not a routing table (a number, or a name in /etc/iproute2/rt_tables)"
        )
    table = number(1, MAX_UINT32)(text)
    if table == _LOCAL_TABLE:
        raise ValueError(
            f"{_LOCAL_TABLE} is the kernel's table of local addresses: use main or a table of"
            " your own"
        )
    return table


def route_protocol(text: str) -> int:
    """A route protocol number. The daemon manages, and removes, all routes that have it."""
    protocol = number(5, 255)(text)
    if protocol in _USED_PROTOCOLS:
        raise ValueError(
            f"{protocol} is used by {_USED_PROTOCOLS[protocol]}: use 201 or another free number"
        )
    return protocol
