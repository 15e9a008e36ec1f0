"""Events as lines for people, and which events a user asked for.

Pure. `monitor`, `history` and `watch` share it.
"""

from __future__ import annotations

import datetime as dt
import re

import attrs

from cuberouted.events import Event, EventsLost, Level, NodeProblem, NodeProblemEnded
from cuberouted.model import Prefix

NAME_FIELDS = (
    "client",
    "other_client",
    "peer",
    "known_as",
    "openvpn",
    "of_node",
    "service",
    "from_node",
    "to_node",
    "at_node",
    "other_node",
)
"""The fields of events that have the name of a client, node, peer, OpenVPN process or service."""

LEVEL_STYLES = {Level.DEBUG: "dim", Level.WARNING: "yellow", Level.ERROR: "red"}
"""INFO has the terminal's own colour. These are in `terminal.STYLES`, and known to rich."""

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "day": 86400, "days": 86400}
_AGO = re.compile(r"(\d{1,9}) ?(s|min|m|h|d|days?)")


@attrs.frozen
class Target:
    """An address, a network or a name that a user typed. Which one it is, events tell."""

    text: str
    prefix: Prefix | None

    @classmethod
    def parse(cls, text: str) -> Target:
        """*text* as a name, and as an address or network where it is one."""
        return cls(text, _prefix(text))

    def matches(self, event: Event) -> bool:
        """Whether *event* is about it, or about a network that contains it or is inside it.

        `EventsLost` always is: the lost events may have been.
        """
        if isinstance(event, EventsLost):
            return True
        if any(getattr(event, name, None) == self.text for name in NAME_FIELDS):
            return True
        if isinstance(event, NodeProblem | NodeProblemEnded):
            return event.what == f"service {self.text}"
        address = getattr(event, "address", None)
        if self.prefix is None or address is None:
            return False
        other = _prefix(address)
        return other is not None and (self.prefix.contains(other) or other.contains(self.prefix))


@attrs.frozen
class Selection:
    """Which events are shown: all, or those about a target; DEBUG events only if ``verbose``."""

    target: Target | None = None
    verbose: bool = False

    def shows(self, event: Event) -> bool:
        """Whether *event* is shown."""
        if event.level is Level.DEBUG and not self.verbose:
            return False
        return self.target is None or self.target.matches(event)


def printable(text: str, encoding: str = "utf-8") -> str:
    """*text* with escapes for control characters and for what *encoding* does not have."""
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
            for c in text
        )
    if text.isascii():
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def format_time(time: dt.datetime, zone: dt.tzinfo | None = None) -> str:
    """``2026-11-27 09:18:46.123``, in local time or that of *zone*."""
    return time.astimezone(zone).isoformat(" ", "milliseconds")[:23]


def parse_since(text: str, now: dt.datetime) -> dt.datetime:
    """The time that a user means: ``10min`` ago, ``09:00`` last, ``2026-11-27T09:00`` local time.

    *now* is aware, and in local time.

    Raises:
      ValueError: none of these.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - dt.timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        if ":" in text and "-" not in text:
            time = dt.datetime.combine(now.date(), dt.time.fromisoformat(text)).astimezone()
            return time if time <= now else time - dt.timedelta(days=1)
        return dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time (examples: 30s, 10min, 2h, 3d, 09:00, 2026-11-27T09:00)"
        ) from None


def _prefix(text: str) -> Prefix | None:
    try:
        return Prefix.parse(text)
    except ValueError:
        return None
