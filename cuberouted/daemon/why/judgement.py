"""What `why` concludes of one address. Pure."""

from __future__ import annotations

from typing import NamedTuple

_UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


class Judgement(NamedTuple):
    """Whether packets get there, the sentence on it, and what to do (empty: nothing)."""

    reached: bool
    verdict: str
    advice: str = ""


def ago(seconds: float) -> str:
    """``4 min ago``, in the largest unit; ``just now`` for less than a second."""
    for unit, size in _UNITS:
        count = int(seconds // size)
        if count > 0:
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"
    return "just now"
