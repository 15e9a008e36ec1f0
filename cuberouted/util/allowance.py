"""How often a line may be logged. Pure."""

from __future__ import annotations


class Allowance:
    """*count* permissions in any window of *seconds* that begins with the first of them."""

    def __init__(self, count: int, seconds: float) -> None:
        self.withheld = 0
        """Refused since the last permission."""
        self._count = count
        self._seconds = seconds
        self._since = 0.0
        self._given = 0

    def take(self, now: float) -> bool:
        """Whether it may be done now. *now*: monotonic seconds."""
        if not self._given or now >= self._since + self._seconds:
            self._since, self._given = now, 0
        if self._given == self._count:
            self.withheld += 1
            return False
        self._given += 1
        return True

    def tally(self) -> int:
        """How many were refused since this was last asked."""
        withheld, self.withheld = self.withheld, 0
        return withheld
