"""How often the same thing is said: pure."""

from __future__ import annotations

import attrs

INTERVAL = 60.0
"""Seconds between two log lines on the same subject."""

MAX_SUBJECTS = 1024
"""Subjects that are remembered; beyond that all are forgotten, and one line more is written."""


@attrs.define
class LogRateLimit:
    """Says yes once a minute for each subject, and counts what it kept quiet."""

    _last: dict[str, float] = attrs.field(factory=dict, init=False)
    _quiet: dict[str, int] = attrs.field(factory=dict, init=False)

    def due(self, subject: str, now: float) -> int | None:
        """None: keep quiet. A number: speak; so many were kept quiet since the last time."""
        if now - self._last.get(subject, float("-inf")) < INTERVAL:
            self._quiet[subject] = self._quiet.get(subject, 0) + 1
            return None
        if len(self._last) >= MAX_SUBJECTS:
            self._last.clear()
            self._quiet.clear()
        self._last[subject] = now
        return self._quiet.pop(subject, 0)
