"""Who is connected to a management interface: /proc/net/tcp and `ss`, which names the other end
of a Unix socket. Nothing is connected to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from cuberouted.check import ports
from cuberouted.check.facts import Holder
from cuberouted.check.programs import run
from cuberouted.model import format_address

_USERS = re.compile(r'\("((?:[^"\\]|\\.)*)",pid=(\d+),fd=\d+\)')
"""A program in the last column of `ss -p`."""


@attrs.frozen
class Held:
    """Programs that are connected. ``unseen``: whether there are others that are not seen."""

    holders: tuple[Holder, ...]
    unseen: bool


def of_unix_socket(path: Path) -> Held | None:
    """Who is connected to the Unix socket *path*. None if `ss` cannot tell."""
    output = run("ss", "--unix", "--processes", "--numeric", "--no-header")
    return None if output is None else parse_ss(output, path)


def parse_ss(output: str, path: Path) -> Held:
    """Who is connected to *path*, by the output of `ss -xpnH`."""
    clients, programs = set[str](), dict[str, list[tuple[str, int]]]()
    for line in output.splitlines():
        # type, state, receive queue, send queue, path, inode, path, inode of the other end, users
        fields = line.split(maxsplit=8)
        if len(fields) < 8 or fields[1] != "ESTAB":
            continue
        users = fields[8] if len(fields) > 8 else ""
        programs[fields[5]] = [(name, int(pid)) for name, pid in _USERS.findall(users)]
        if fields[4] == str(path):
            clients.add(fields[7])
    found = [program for inode in clients for program in programs.get(inode, ())]
    unseen = any(not programs.get(inode) for inode in clients)
    return Held(tuple(_holders(found)), unseen)


def of_port(addresses: Iterable[bytes], port: int) -> Held:
    """Who is connected to *port* at one of these packed *addresses*."""
    found, unseen = list[tuple[str, int]](), False
    for connection in ports.connections():
        if connection.port == port and connection.address in addresses:
            process = ports.process_of(connection.inode)
            if process is None:
                unseen = True
            else:
                found.append((Path(process[1][0]).name, process[0]))
    return Held(tuple(_holders(found)), unseen)


def _holders(found: Iterable[tuple[str, int]]) -> Iterator[Holder]:
    for name, pid in sorted(set(found)):
        if not ports.is_cuberouted(ports.command_of(pid)):
            yield Holder(name, pid, tuple(_listens(pid)))


def _listens(pid: int) -> Iterator[str]:
    """Paths and addresses on which a process listens."""
    inodes = ports.sockets_of(pid)
    for path, inode in ports.unix_listeners():
        if inode in inodes:
            yield os.fsdecode(path)
    for listener in ports.listeners():
        if listener.inode in inodes:
            yield f"{listener.port} at {format_address(listener.address)}"
