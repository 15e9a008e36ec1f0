"""SIGHUP during the start of the process, before its event loop receives signals."""

from __future__ import annotations

import signal
from types import FrameType


class EarlyHangup:
    """A signal handler that remembers a SIGHUP, whose default action ends the process."""

    def __init__(self) -> None:
        self.received = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal."""
        self.received = True

    @staticmethod
    def install() -> None:
        """Install such a handler."""
        signal.signal(signal.SIGHUP, EarlyHangup())

    @staticmethod
    def installed() -> EarlyHangup | None:
        """The handler that `install` has installed, or None."""
        handler = signal.getsignal(signal.SIGHUP)
        return handler if isinstance(handler, EarlyHangup) else None
