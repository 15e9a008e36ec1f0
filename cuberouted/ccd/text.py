"""One file of a client-config-dir: what the command makes, a marker, what is written by hand. Pure.

A file with the marker is the command's: it replaces what stands above, and keeps what stands
below byte for byte. A file without it is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Interface

import attrs

from cuberouted.ccd.hosts import Address, Network
from cuberouted.ccd.subnets import Topology
from cuberouted.openvpn.config_file import Option, parse_file

MARKER = b"# ---- above: made by `cuberouted ccd`; below: by hand, and kept ----"
"""The line between the two parts."""

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")

PUSH = "ifconfig-push"
PUSH6 = "ifconfig-ipv6-push"


@attrs.frozen
class Push:
    """An option that gives the client an address.

    ``line``: in its file. ``address``: None if it is none, as a name that OpenVPN looks up.
    """

    line: int
    text: str
    version: int
    address: Address | None


@attrs.frozen
class ClientText:
    """A file of a client.

    ``ours``: it has the marker. ``strange``: number and text of lines above the marker that the
    command does not make. ``hand``: what is written by hand. ``pushes``: the options in *hand*
    that count, by version of IP; of several OpenVPN uses the last.
    """

    ours: bool
    strange: tuple[tuple[int, str], ...]
    hand: bytes
    pushes: Mapping[int, Push]


def parse_client(content: bytes) -> ClientText:
    """The parts of a file with this *content*."""
    lines = _LINE.findall(content)
    bare = [line.rstrip() for line in lines]
    if MARKER not in bare:
        return ClientText(ours=False, strange=(), hand=content, pushes=_pushes(lines, 1))
    above = bare.index(MARKER)
    strange = tuple(
        (number, line.decode("utf-8", "backslashreplace").strip())
        for number, line in enumerate(bare[:above], 1)
        if line and not _is_made(line)
    )
    below = lines[above + 1 :]
    return ClientText(True, strange, b"".join(below), _pushes(below, above + 2))


def format_client(made: Iterable[str], hand: bytes) -> bytes:
    """The content of a file with the lines *made* and what is written by hand."""
    return "".join(f"{line}\n" for line in made).encode() + MARKER + b"\n" + hand


def push_line(address: Address, network: Network, topology: Topology) -> str:
    """The option that gives a client *address* in *network*."""
    if address.version == 6:
        return f"{PUSH6} {address}/{network.prefixlen}"
    if topology is Topology.NET30:
        return f"{PUSH} {address} {other_end(address)}"
    return f"{PUSH} {address} {network.netmask}"


def other_end(address: IPv4Address) -> IPv4Address | None:
    """The server's end of a client's /30; None if *address* is neither of the two in the middle."""
    step = {1: 1, 2: -1}.get(int(address) % 4)
    return None if step is None else address + step


def _is_made(line: bytes) -> bool:
    options = list(parse_file(line))
    return [option.name for option in options] in ([PUSH], [PUSH6]) and b"#" not in line


def _pushes(lines: Iterable[bytes], first: int) -> Mapping[int, Push]:
    found = {}
    for number, line in enumerate(lines, first):
        for push in _pushes_of_line(number, line):
            found[push.version] = push
    return found


def _pushes_of_line(number: int, line: bytes) -> Iterator[Push]:
    for option in parse_file(line):
        if option.name in (PUSH, PUSH6):
            text = " ".join((option.name, *option.arguments))
            yield Push(number, text, 4 if option.name == PUSH else 6, _address(option))


def _address(option: Option) -> Address | None:
    word = next(iter(option.arguments), "")
    with suppress(ValueError):
        return IPv4Address(word) if option.name == PUSH else IPv6Interface(word).ip
    return None
