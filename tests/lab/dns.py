"""What a DNS server answers: `python -m tests.lab.dns SERVER NAME` asks it again and again.

Each change of the answer is one line: Unix seconds, and the addresses, sorted.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.lab.host import Host
from tests.lab.process import Process

A, AAAA, IN = 1, 28, 1
ADDRESS_TYPES = {A: socket.AF_INET, AAAA: socket.AF_INET6}
PORT = 53
RECURSION_DESIRED = 0x100
INTERVAL = 0.02


class Answer(NamedTuple):
    """The addresses of a name, from a time on (Unix seconds)."""

    at: float
    addresses: frozenset[str]


class Watcher:
    """Follows what the DNS server of *host* answers for *name*."""

    def __init__(self, host: Host, name: str) -> None:
        argv = sys.executable, "-u", "-m", "tests.lab.dns", "127.0.0.1", name
        self._process: Process = host.start(f"dns-{name}", *argv)

    @property
    def answers(self) -> list[Answer]:
        """All answers so far that differ from the one before."""
        lines = [line.split() for line in self._process.log.splitlines()]
        return [Answer(float(at), frozenset(addresses)) for at, *addresses in lines]

    @property
    def now(self) -> frozenset[str] | None:
        """The last answer; None before the first."""
        answers = self.answers
        return answers[-1].addresses if answers else None

    def answered_at(self, *addresses: str) -> float:
        """When all of *addresses* were in an answer for the first time."""
        return next(at for at, found in self.answers if found.issuperset(addresses))


def lookup(server: str, name: str) -> frozenset[str]:
    """The IPv4 and IPv6 addresses of *name*.

    Raises:
      OSError: no answer.
    """
    return frozenset(address for kind in ADDRESS_TYPES for address in _ask(server, name, kind))


def _ask(server: str, name: str, kind: int) -> Iterator[str]:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack("!6H", 1, RECURSION_DESIRED, 1, 0, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(1.0)
        connection.connect((server, PORT))
        connection.send(header + labels + b"\0" + struct.pack("!2H", kind, IN))
        answer = connection.recv(4096)
    (count,) = struct.unpack("!H", answer[6:8])
    at = len(header) + len(labels) + 1 + 4
    for _ in range(count):
        # the owner's name is a pointer to the question: RFC 1035 section 4.1.4
        owner, found, _, _, length = struct.unpack("!3HIH", answer[at : at + 12])
        assert owner >> 14 == 0b11, answer
        if found in ADDRESS_TYPES:
            yield socket.inet_ntop(ADDRESS_TYPES[found], answer[at + 12 : at + 12 + length])
        at += 12 + length


def _watch(server: str, name: str) -> None:
    before: frozenset[str] | None = None
    while True:
        with contextlib.suppress(OSError):  # it has not started yet
            answer = lookup(server, name)
            if answer != before:
                print(f"{time.time():.6f}", *sorted(answer))
                before = answer
        time.sleep(INTERVAL)


if __name__ == "__main__":
    _watch(*sys.argv[1:])
