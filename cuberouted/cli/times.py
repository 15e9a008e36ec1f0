"""Times for people."""

from __future__ import annotations

import datetime as dt

UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def format_duration(seconds: float) -> str:
    """The two largest units: ``3 days 2 h``, ``12.3 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}")
    return " ".join(parts[:2])


def format_age(seconds: float) -> str:
    """One unit, in which the number is not small: ``4 s``, ``119 min``, ``47 h``, ``3 days``.

    A clock that is behind another server's makes no negative age.
    """
    seconds = max(0, int(seconds))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"


def format_since(since: str, now: float) -> str:
    """How long before *now* (Unix seconds) the ISO time *since* was: ``4 min ago``."""
    return f"{format_age(now - dt.datetime.fromisoformat(since).timestamp())} ago"
