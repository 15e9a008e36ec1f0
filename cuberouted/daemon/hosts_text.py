"""The text of the hosts file: DNS names for common names, in the form of hosts(5). Pure.

`daemon.hosts_file` writes it.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from typing import NamedTuple

from cuberouted.model import Kind, Prefix, format_address, printable_name
from cuberouted.routing.rib import ADOPTED_VERSION, RibRoute

MAX_LABEL = 63
"""RFC 1035 section 2.3.4."""

HEADER = b"# Clients of the VPN, written by cuberouted: do not edit.\n"
"""The first line. A file that begins otherwise is not ours, and is not replaced."""

RESERVED = frozenset(
    {
        # names of this host, as Debian's /etc/hosts has them
        *("localhost", "ip6-localhost", "ip6-loopback", "ip6-allnodes", "ip6-allrouters"),
        # whoever has one of these gets other hosts' traffic (Windows' GlobalQueryBlockList)
        *("wpad", "isatap"),
    }
)
"""Labels that no client gets."""

_LABEL = re.compile(rb"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OTHERS = re.compile(r"[^a-z0-9]+")


class Owner(enum.IntEnum):
    """Whose name it is. Of names that become one label, the lowest has it."""

    SERVER = 0
    SERVICE = 1
    CLIENT = 2


class Entry(NamedTuple):
    """One address and the name that belongs to it. Entries sort by family and address.

    ``bits``: 32 for IPv4, 128 for IPv6. ``address``: packed. ``name``: the common name, or the
    name of a node or service.
    """

    bits: int
    address: bytes
    name: bytes
    owner: Owner


def entry_of(prefix: Prefix, best: RibRoute) -> Entry | None:
    """The entry of *prefix* with its best route; None for a network, and where no name is known."""
    kind, name, version = (
        best.advertisement.kind,
        best.advertisement.name,
        best.advertisement.version,
    )
    if kind is Kind.NETWORK or version == ADOPTED_VERSION:
        return None
    owner = {Kind.SERVER: Owner.SERVER, Kind.SERVICE: Owner.SERVICE}.get(kind, Owner.CLIENT)
    name = best.node.encode() if owner is Owner.SERVER else name
    return Entry(prefix.length, prefix.address, name, owner) if name else None


class HostNames:
    """Which name has which label: add all entries, then ask for the line of each.

    A name becomes one label. Where several become the same, a server's goes first, then a
    service's; of clients the one that equals its label, then the lowest: all nodes choose alike,
    whoever came first.
    """

    def __init__(self, domain: str) -> None:
        self._suffix = f".{domain}" if domain else ""
        self._labels: dict[bytes, str] = {}
        # label -> the name of this kind that has it
        self._names: dict[Owner, dict[str, bytes]] = {owner: {} for owner in Owner}

    def add(self, entry: Entry) -> None:
        """Let the name of *entry* take part."""
        name = entry.name
        label = self._labels.get(name)
        if label is None:
            label = self._labels[name] = dns_label(name)
        names = self._names[entry.owner]
        first = names.setdefault(label, name)
        if first != name and _rank(name, label) < _rank(first, label):
            names[label] = name

    def line(self, entry: Entry) -> str:
        """The line of an entry that was added: a comment if it cannot have a name."""
        address, name = format_address(entry.address), entry.name
        label = self._labels[name]
        # the lowest kind of owner that has the label
        owner = next(owner for owner in Owner if label in self._names[owner])
        first = self._names[owner][label]
        if not label or label in RESERVED:
            why = f"{label} is reserved" if label else "no letter or digit of ASCII"
        elif owner is not entry.owner:
            why = f"{label} is the name of {owner.name.lower()} {printable_name(first)}"
        elif first != name:
            why = f"{label} is the name of {printable_name(first)}"
        elif self._suffix:
            return f"{address} {label}{self._suffix} {label}\n"
        else:
            return f"{address} {label}\n"
        return f"# {address} {printable_name(name)}: {why}\n"


def dns_label(name: bytes) -> str:
    """*name* as one label of the DNS, or "" if nothing of it is left.

    Accents are removed, and everything but letters, digits and hyphens becomes a hyphen; dots
    too, so that no client can get a name in a domain that is not its own.
    """
    if _LABEL.fullmatch(name):
        return name.decode()
    text = unicodedata.normalize("NFKD", name.decode("utf-8", "replace"))
    text = "".join(c for c in text if not unicodedata.combining(c)).casefold()
    return _OTHERS.sub("-", text).strip("-")[:MAX_LABEL].rstrip("-")


def _rank(name: bytes, label: str) -> tuple[bool, bytes]:
    """The sort key of the names that become *label*: the lowest has it."""
    return name != label.encode(), name
