"""What the hook is run for, what it is given, and what its end means. Pure.

`daemon.hooks` runs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import msgspec

from cuberouted.events import Event, Level, NodeProblem
from cuberouted.model import printable_name
from cuberouted.util.command import CommandEnd
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

MAX_LINE = 200
"""Characters of the last line of its standard error in an event."""

HOOK = "hook"
"""`NodeProblem.what` of our own events. No hook is run for them: it would go round in circles."""

MAX_WAITING = 1000
"""Events that wait for the hook at most. When one more comes, the oldest is lost."""

MAX_VALUE = 8192
"""Bytes of an environment variable. The JSON on standard input has all of a longer value."""


class HookQueue:
    """The events that wait for the hook, oldest first.

    ``types``: those that it is run for; empty: all but debug events.
    """

    def __init__(self, types: Collection[str] = ()) -> None:
        self.types = frozenset(types)
        self._events: deque[Event] = deque()
        self._lost = 0
        self._loss_limit = LogRateLimit()

    def put(self, event: Event) -> bool:
        """Let *event* wait, if the hook is to be run for it. Return whether it is."""
        if isinstance(event, NodeProblem) and event.what == HOOK:
            return False
        if event.level is Level.DEBUG or (self.types and event_type(event) not in self.types):
            return False
        if len(self._events) >= MAX_WAITING:
            self._events.popleft()
            self._lost += 1
        self._events.append(event)
        return True

    def take(self) -> Event | None:
        """The next event, or None."""
        return self._events.popleft() if self._events else None

    def clear(self) -> None:
        """Forget the events that wait."""
        self._events.clear()

    def loss(self, now: float) -> NodeProblem | None:
        """How many events were lost, at most once a minute. *now*: monotonic seconds."""
        if not self._lost or self._loss_limit.allow("", now) is None:
            return None
        lost, self._lost = self._lost, 0
        why = f"{lost} event{'' if lost == 1 else 's'} lost: the command is too slow"
        return NodeProblem(what=HOOK, why=why)


class HookFailures:
    """Makes an event of a failed run, at most once a minute. ``count``: of all failed runs."""

    def __init__(self) -> None:
        self.count = 0
        self._limit = LogRateLimit()

    def event(self, program: str, event: Event, end: CommandEnd, now: float) -> NodeProblem | None:
        """The event about the run of *program* for *event*. *now*: monotonic seconds."""
        if not end.failed:
            return None
        self.count += 1
        suppressed = self._limit.allow("", now)
        if suppressed is None:
            return None
        last = printable_name(end.last_line)[:MAX_LINE]
        what = f"{program} {end.how('hook_timeout')} for {event_type(event)}"
        why = f"{what}{': ' if last else ''}{last}{suppressed_note(suppressed)}"
        return NodeProblem(what=HOOK, why=why)


def event_type(event: Event | type[Event]) -> str:
    """As in its JSON: ``client_joined``."""
    return str(event.__struct_config__.tag)


def environment(event: Event) -> dict[str, bytes]:
    """The variables that describe *event*: each field of its JSON, as CUBEROUTED_FIELD.

    Numbers are decimal, truth values ``true`` or ``false``, lists separated by spaces; what is
    null is empty.
    """
    fields = msgspec.to_builtins(event) | {"level": event.level, "text": str(event)}
    return {f"CUBEROUTED_{key.upper()}": _variable(value) for key, value in fields.items()}


def _variable(value: object) -> bytes:
    match value:
        case None:
            text = ""
        case bool():
            text = str(value).lower()
        case list() | tuple():
            text = " ".join(map(str, value))
        case _:
            text = str(value)
    # execve(2): a NUL would end it, and a string has at most 128 KiB
    return text.encode("utf-8", "backslashreplace").replace(b"\0", b"")[:MAX_VALUE]
