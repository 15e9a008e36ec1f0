"""Limits how often a log line on the same subject is written. Pure: the time is passed in."""

from __future__ import annotations

import attrs

MAX_SUBJECTS = 1024
"""Subjects that are remembered. When one more comes, all are forgotten."""


@attrs.define
class _Window:
    start: float
    lines: int = 0
    suppressed: int = 0


@attrs.define
class LogRateLimit:
    """Allows ``burst`` lines a subject within ``interval`` seconds of the first of them.

    Source: BIRD's rate limit of log messages (lib/tbf.h) has the same purpose.
    """

    burst: int = 1
    interval: float = 60.0
    _windows: dict[str, _Window] = attrs.field(factory=dict, init=False)

    def allow(self, subject: str, now: float) -> int | None:
        """Ask to log a line about *subject* at *now* (monotonic seconds).

        Return the number of lines suppressed since the last one logged, or None if this
        one must be suppressed too.
        """
        window = self._windows.get(subject)
        if window is None:
            if len(self._windows) >= MAX_SUBJECTS:
                self._windows.clear()
            window = self._windows[subject] = _Window(now)
        elif now - window.start >= self.interval:
            window.start, window.lines = now, 0
        if window.lines >= self.burst:
            window.suppressed += 1
            return None
        window.lines += 1
        suppressed, window.suppressed = window.suppressed, 0
        return suppressed


def suppressed_note(count: int) -> str:
    """The end of a log line: how many lines like it were not logged. Empty for none."""
    if not count:
        return ""
    return f" ({count} similar message{'' if count == 1 else 's'} suppressed)"
