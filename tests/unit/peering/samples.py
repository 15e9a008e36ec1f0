"""Samples that several tests of this package use."""

from __future__ import annotations

from collections.abc import Callable

from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.peering.events import PeerLimits
from cuberouted.peering.session import PeerSession

LIMITS = PeerLimits(hold_time=3.0, restart_time=30.0, max_advertisements=1000)


def client(number: int, version: int = 1) -> Advertisement:
    """The advertisement of client *number*."""
    prefix = Prefix((0x0A000000 + number).to_bytes(4), 32)
    return Advertisement(prefix, Kind.CLIENT, b"client%d" % number, version, True)


def clients(*numbers: int) -> tuple[Advertisement, ...]:
    return tuple(client(number) for number in numbers)


def nonces() -> Callable[[], bytes]:
    """Predictable nonces: 1, 2, 3..."""
    numbers = iter(range(1, 2**16))
    return lambda: next(numbers).to_bytes(8)


def session(name: str | None = "B", limits: PeerLimits = LIMITS) -> PeerSession:
    """Node A's session with the peer whose key is "b"."""
    return PeerSession("b", name, "A", limits, 0.0, nonces())
