"""The readers of single values: text in, value out.

Each raises ValueError with a message that completes "KEY: ...": what is wrong, and what
would be right. None of them reads anything but its argument.
"""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from cuberouted.config.text import quote
from cuberouted.model import Prefix

T = TypeVar("T")

MAX_NAME = 64
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|)", re.ASCII)
_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_YES_NO: Final = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_MAX_INTERFACE = 15  # IFNAMSIZ of linux/if.h, less its NUL
_MAX_SOCKET_PATH = 107  # sun_path of linux/un.h, less its NUL
MAX_KEYS = 2
_KEY_LENGTH = 40
_Z85: Final = (
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
)
_MULTICAST: Final = (Prefix.parse("224.0.0.0/4"), Prefix.parse("ff00::/8"))
_NOBODY: Final = (Prefix.parse("0.0.0.0/8"), Prefix.parse("::/128"), Prefix.parse("240.0.0.0/4"))
_LINK_LOCAL: Final = Prefix.parse("fe80::/10")
_MAPPED: Final = Prefix.parse("::ffff:0.0.0.0/96")


def name(text: str) -> str:
    """A node's, a peer's or an OpenVPN's name."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{quote(text)} is no name: 1 to {MAX_NAME} letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return text


def interface(text: str) -> str:
    """A network interface's name, as the kernel takes them (dev_valid_name)."""
    bad = any(c.isspace() or c in "/:" or not c.isprintable() for c in text)
    if bad or text in (".", "..") or len(text.encode("utf-8", "replace")) > _MAX_INTERFACE:
        raise ValueError(
            f"{quote(text)} is no interface name: up to {_MAX_INTERFACE} characters without "
            "white space, '/' or ':', as in tun0"
        )
    return text


def host(text: str) -> str:
    """A host's name or address; a port is not part of it."""
    if ":" in text:
        return socket.inet_ntop(socket.AF_INET6, packed(text))
    if not _HOST.fullmatch(text):
        raise ValueError(f"{quote(text)} is no host: an address or a name, as in 127.0.0.1")
    return text


def packed(text: str) -> bytes:
    """An IPv4 or IPv6 address, in network order."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return socket.inet_pton(family, text)
    except (OSError, ValueError):
        raise ValueError(f"{quote(text)} is no IP address: as in 10.200.200.5") from None


def peer_address(text: str) -> bytes:
    """The address of one other host, in network order."""
    address = packed(text)
    prefix = Prefix.host(address)
    if any(group.contains(prefix) for group in (*_MULTICAST, *_NOBODY)):
        raise ValueError(f"{text} is nobody's address: the address of one host, as in 10.200.200.5")
    if _LINK_LOCAL.contains(prefix):
        raise ValueError(f"{text} is link-local: use an IPv4 or a unique local address (fd00::/8)")
    if _MAPPED.contains(prefix):
        plain = socket.inet_ntop(socket.AF_INET, address[12:])
        raise ValueError(f"{text} is an IPv4 address in disguise: write {plain}")
    return address


def listen_address(text: str) -> bytes:
    """An address to bind, in network order; 0.0.0.0 and :: are every address."""
    address = packed(text)
    return address if not any(address) else peer_address(text)


def network(text: str) -> Prefix:
    """A network that clients may be in."""
    address, slash, length = text.partition("/")
    whole = packed(address)
    try:
        prefix = Prefix.parse(text)
    except ValueError:
        raise ValueError(_better_network(text, whole, length)) from None
    if slash and prefix.length <= 1:
        raise ValueError(f"{text} is the whole Internet: name the clients' networks")
    return prefix


def _better_network(text: str, address: bytes, length: str) -> str:
    bits = len(address) * 8
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits):
        return f"{quote(text)} is no network: the length behind '/' is 0 to {bits}"
    unused = bits - int(length)
    start = (int.from_bytes(address) >> unused << unused).to_bytes(len(address))
    return f"{text} has bits set behind its length: write {Prefix(start, int(length))}"


def public_key(text: str) -> bytes:
    """A CURVE key as `cuberouted keygen` writes it: 32 bytes in 40 characters."""
    key = text.encode("utf-8", "replace")
    if not is_curve_key(key):
        raise ValueError(
            f"{quote(text)} is no public key: the 40 characters that `cuberouted keygen` prints"
        )
    return key


def public_keys(text: str) -> tuple[bytes, ...]:
    """One public key, or two while the peer changes from one to the other."""
    keys = listed(public_key)(text)
    if len(keys) > MAX_KEYS:
        raise ValueError(f"{len(keys)} keys: one, or the old and the new one while it is changed")
    return keys


def is_curve_key(text: bytes) -> bool:
    """Whether *text* stands for 32 bytes in Z85 (https://rfc.zeromq.org/spec/32/)."""
    if len(text) != _KEY_LENGTH or text.strip(_Z85):
        return False
    fives = (text[start : start + 5] for start in range(0, _KEY_LENGTH, 5))
    return all(_five(five) < 2**32 for five in fives)


def _five(five: bytes) -> int:
    return functools.reduce(lambda sum_, digit: sum_ * len(_Z85) + _Z85.index(digit), five, 0)


def listed(read: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """A reader of several, with commas or white space between."""

    def read_list(text: str) -> tuple[T, ...]:
        values = tuple(read(part) for part in re.split(r"[\s,]+", text) if part)
        if not values:
            raise ValueError(f"{quote(text)} names nothing")
        if len(set(values)) < len(values):
            raise ValueError("names something twice: once is enough")
        return values

    return read_list


def number(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers, both ends included."""

    def read_number(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(high))
        if not digits or not low <= int(text) <= high:
            raise ValueError(f"{quote(text)}: a whole number from {low} to {high} is needed")
        return int(text)

    return read_number


def duration(low: float, high: float = 86400.0) -> Callable[[str], float]:
    """A reader of durations between *low* and *high* seconds, as in ``300ms``, ``3``, ``1.5m``."""

    def read_duration(text: str) -> float:
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError(f"{quote(text)} is no duration: as in 300ms, 3s, 5m or 1h")
        seconds = float(match[1]) * _UNITS[match[2]]
        if not low <= seconds <= high:
            raise ValueError(f"{text} is out of range: {low:g}s to {high:g}s")
        return seconds

    return read_duration


def yes_no(text: str) -> bool:
    """``yes``, ``true``, ``on``, ``no``, ``false`` or ``off``."""
    return choice(_YES_NO)(text)


def choice(values: dict[str, T]) -> Callable[[str], T]:
    """A reader of one of a few words, in upper or lower case."""

    def read_choice(text: str) -> T:
        word = text.lower()
        if word not in values:
            raise ValueError(f"{quote(text)} is none of {', '.join(values)}")
        return values[word]

    return read_choice


def file_path(text: str) -> Path:
    """An absolute path: a daemon has no working directory to speak of."""
    if not text.startswith("/") or not text.isprintable():
        raise ValueError(f"{quote(text)} is no whole path: it begins with '/'")
    return Path(text)


def socket_path(text: str) -> Path:
    """An absolute path that a Unix socket can have."""
    if len(text.encode("utf-8", "replace")) > _MAX_SOCKET_PATH:
        raise ValueError(f"{quote(text)} is too long for a socket: {_MAX_SOCKET_PATH} bytes")
    return file_path(text)
