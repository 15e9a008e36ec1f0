"""The time at which a maintenance ends by itself, as a user types it. Pure."""

from __future__ import annotations

import datetime as dt
import re

from cuberouted.config.converters import duration

MAX_DURATION = 366 * 86400.0
"""Seconds."""

_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_DAYS = re.compile(r"([0-9]{1,3}) ?d(?:ays?)?")


def parse_until(text: str, now: float) -> int:
    """*text* in Unix seconds; *now*: the present time in Unix seconds.

    ``18:00``: today or tomorrow, in local time, whichever comes first. ``2026-11-28 06:00``, also
    with an offset such as ``+01:00``. ``90m``, ``2h``, ``3d``: from now on.

    Raises:
      ValueError: it is none of that, or is over.
    """
    at = _parse(text.strip(), now)
    if at <= now:
        raise ValueError(f"{text!r} is over")
    if at > now + MAX_DURATION:
        raise ValueError(f"{text!r} is more than a year from now")
    return int(at)


def _parse(text: str, now: float) -> float:
    if match := _CLOCK.fullmatch(text):
        return _next(int(match[1]), int(match[2]), now, text)
    if match := _DAYS.fullmatch(text):
        return now + int(match[1]) * 86400
    try:
        return now + duration(0.0, MAX_DURATION)(text)
    except ValueError:
        pass
    try:
        # without an offset it is local time; a date alone is its first moment
        return dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time (examples: 18:00, 2026-11-28 06:00, 2h)"
        ) from None


def _next(hour: int, minute: int, now: float, text: str) -> float:
    today = dt.datetime.fromtimestamp(now)
    try:
        at = today.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except ValueError:
        raise ValueError(f"{text!r} is not a time of day") from None
    if at.timestamp() <= now:
        at += dt.timedelta(days=1)
    return at.timestamp()
