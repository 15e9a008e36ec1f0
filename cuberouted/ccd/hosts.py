"""Reads a hosts file: addresses with their names, and what is wrong, with line numbers. Pure.

Source: hosts(5).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path

import attrs

from cuberouted.model import printable_name

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@attrs.frozen
class Note:
    """A sentence about a place in a file. ``line``: from 1, or None for the whole file."""

    file: Path
    line: int | None
    text: str

    def __str__(self) -> str:
        place = f"{self.file}" if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.text}"


@attrs.frozen
class Host:
    """A line of the hosts file: the address, its name, and the aliases."""

    line: int
    address: Address
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """The first name."""
        return self.names[0]


@attrs.frozen
class HostsText:
    """What a hosts file says."""

    hosts: tuple[Host, ...]
    mistakes: tuple[Note, ...]


def parse_hosts(content: bytes, file: Path) -> HostsText:
    """The lines of *content*, the content of *file*. In names, what is not printable is escaped."""
    hosts, mistakes = list[Host](), list[Note]()
    for number, line in enumerate(content.split(b"\n"), 1):
        words = [printable_name(word) for word in line.partition(b"#")[0].split()]
        if not words:
            continue
        try:
            address = ip_address(words[0])
        except ValueError:
            mistakes.append(Note(file, number, f"{words[0]!r} is not an IP address"))
            continue
        if len(words) == 1:
            mistakes.append(Note(file, number, f"{address} has no name"))
        else:
            hosts.append(Host(number, address, tuple(words[1:])))
    return HostsText(tuple(hosts), tuple(mistakes))


def network_of(address: Address, networks: Iterable[Network]) -> Network | None:
    """The first of *networks* that contains *address*."""
    return next((network for network in networks if address in network), None)
