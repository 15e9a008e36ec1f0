"""What one peer has advertised. Pure.

Updates are absolute, so one that skips a number still applies; only the table is then
known to lack something. Updates of different epochs never meet in one table.
"""

from __future__ import annotations

from collections import Counter

from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.sharing.messages import Update


class OverLimitError(Exception):
    """A peer advertises more than it may; the table is as it was."""


class PeerTable:
    """The advertisements of one peer at (epoch, seq); epoch None: never had any."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.epoch: int | None = None
        self.seq = 0
        self._held: dict[Prefix, Advertisement] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def clients(self) -> int:
        """How many clients there are; one with an IPv4 and an IPv6 address counts once."""
        families = Counter(p.family for p, a in self._held.items() if a.kind is Kind.CLIENT)
        return max(families.values(), default=0)

    def advertisements(self) -> tuple[Advertisement, ...]:
        """All of them."""
        return tuple(self._held.values())

    def apply(self, update: Update) -> None:
        """Take in *update*, of this table's epoch and a later seq.

        Raises:
          OverLimitError: the table would hold more than ``limit``.
        """
        new = {advertisement.prefix: advertisement for advertisement in update.advertise}
        gone = {p for p in update.withdraw if p in self._held and p not in new}
        added = sum(prefix not in self._held for prefix in new)
        self._check(len(self._held) + added - len(gone), added)
        for prefix in gone:
            del self._held[prefix]
        self._held.update(new)
        self.seq = update.seq

    def replace(self, epoch: int, seq: int, advertisements: tuple[Advertisement, ...]) -> None:
        """Hold these instead.

        Raises:
          OverLimitError: they are more than ``limit``.
        """
        held = {advertisement.prefix: advertisement for advertisement in advertisements}
        self._check(len(held), len(held))
        self.epoch, self.seq, self._held = epoch, seq, held

    def clear(self) -> None:
        """Hold nothing, of no epoch."""
        self.epoch, self.seq, self._held = None, 0, {}

    def _check(self, size: int, added: int) -> None:
        if added and size > self.limit:
            raise OverLimitError(f"over limit: {size} prefixes, max_advertisements = {self.limit}")
