"""Which events of a storm are log lines. Pure: the time is passed in.

Within `WINDOW` seconds of the first event of a kind, only so many of that kind are logged, and
then the number of the others. A kind is a type of event, and the peer, OpenVPN process, service or
node that it is about: so one of them never hides another. Within a kind, one address or client that
flaps does not use up the limit either.
"""

from __future__ import annotations

import math

import attrs

from cuberouted.events import Event, Level

WINDOW = 10.0
"""Seconds."""
MAX_LINES = 50
"""Lines of a kind in a window."""
MAX_SUBJECT_LINES = 5
"""Lines of a kind about one subject in a window."""
MAX_KINDS = 1000
"""Kinds that are told apart at a time; peers that change their names could make very many."""

_SEVERITY = list(Level)
_ABOUT = ("peer", "openvpn", "service", "of_node")


@attrs.frozen
class Suppressed:
    """The events of a kind that were not logged in a window of *seconds*."""

    count: int
    level: Level
    type: str
    about: str

    def __str__(self) -> str:
        about = f" of {self.about}" if self.about else ""
        return (
            f"{self.count:,} more event{'' if self.count == 1 else 's'} {self.type}{about}"
            f" in {WINDOW:g} s; see `cuberouted history`"
        )


@attrs.define
class _Window:
    ends: float
    lines: int = 0
    suppressed: int = 0
    level: Level = Level.INFO
    subjects: dict[str, int] = attrs.field(factory=dict)


class StormLimit:
    """Decides on each event. ``now`` and ``deadline`` are monotonic seconds."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], _Window] = {}  # the one that ends first comes first

    @property
    def deadline(self) -> float:
        """When `timer` is due; inf: never."""
        return next((window.ends for window in self._windows.values()), math.inf)

    def allow(self, event: Event, now: float) -> bool:
        """Whether to log *event*. Call `timer` before."""
        kind = type_of(event), about(event)
        if kind not in self._windows and len(self._windows) >= MAX_KINDS:
            kind = "", ""
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Window(now + WINDOW)
        subject = str(getattr(event, "address", "") or getattr(event, "client", ""))
        of_subject = window.subjects.get(subject, 0) if subject else 0
        if window.lines < MAX_LINES and of_subject < MAX_SUBJECT_LINES:
            window.lines += 1
            window.subjects[subject] = of_subject + 1
            return True
        window.suppressed += 1
        window.level = max(window.level, event.level, key=_SEVERITY.index)
        return False

    def timer(self, now: float) -> list[Suppressed]:
        """End the windows that are over at *now*, and return what they suppressed."""
        ended = []
        for kind, window in self._windows.items():
            if now < window.ends:
                break  # all that follow end later
            ended.append(kind)
        windows = [(kind, self._windows.pop(kind)) for kind in ended]
        return [
            Suppressed(window.suppressed, window.level, type_ or "of many kinds", name)
            for (type_, name), window in windows
            if window.suppressed
        ]


def type_of(event: Event) -> str:
    """The ``type`` of *event* in JSON."""
    return str(event.__struct_config__.tag)


def about(event: Event) -> str:
    """The peer, OpenVPN process, service or node of *event*, or empty."""
    return next((str(name) for key in _ABOUT if (name := getattr(event, key, ""))), "")
