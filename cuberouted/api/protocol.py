"""The protocol of the control socket.

A connection carries one request: a line with a JSON object ``{"ask": NAME}``. The reply is one
JSON object and the end of the stream. Requests only read.
"""

from __future__ import annotations

import msgspec

MAX_REQUEST = 4096
"""Bytes; ours are below 50."""

TIMEOUT = 5.0
"""Seconds for a client to send its request, and without progress in receiving the reply."""

GROUP = "cuberouted"
"""Its members may connect, besides root and the daemon's own user."""

DECODE_ERRORS = (ValueError, RecursionError)
"""What msgspec raises for malformed JSON; its own errors are ValueErrors."""


class Request(msgspec.Struct):
    """A client's request: the name of a handler."""

    ask: str


class ErrorReply(msgspec.Struct):
    """The reply to a request that is malformed, unknown, not permitted, or that failed."""

    error: str


class ControlError(Exception):
    """The control socket cannot be used. The text says why, and what to do."""


class NotRunningError(ControlError):
    """No daemon listens on the control socket."""


class UnwritableError(ControlError):
    """The control socket cannot be created, because the file system is full or read-only."""
