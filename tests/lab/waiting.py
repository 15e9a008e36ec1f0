"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL = 0.02
"""Seconds between two polls: about what one `ip` command in a namespace costs."""

_patience = 1.0


def set_patience(factor: float) -> None:
    """From now on every `wait_for` waits *factor* times as long: for slow machines."""
    global _patience
    _patience = factor


def wait_for(promise: str, look: Callable[[], T], timeout: float = 10.0) -> T:
    """What *look* returns, once that is true.

    *promise* completes the sentence "waited 10 s for ...". A failed assertion in *look*
    counts as "not yet", and the last one is reported after the timeout.

    Raises:
      AssertionError: it did not become true within *timeout* seconds.
    """
    timeout *= _patience
    deadline = time.monotonic() + timeout
    while True:
        seen: object
        try:
            seen = found = look()
            if found:
                return found
        except AssertionError as not_yet:
            seen = not_yet
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {promise}; last seen: {seen!s:.2000}")
        time.sleep(POLL)
