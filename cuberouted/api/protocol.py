"""What both sides of the control socket share: limits, groups and errors.

The control socket carries HTTP/1.1 (RFC 9112); `http` has its requests and endpoints.
"""

from __future__ import annotations

import msgspec

TIMEOUT = 5.0
"""Seconds for a client to send its request, and for each piece of the reply to be received."""

GROUP = "cuberouted"
"""Its members may read, besides root and the daemon's own user."""

GROUP_ADMIN = "cuberouted-admin"
"""Its members may also change something, as root may.

They are members of `GROUP` as well: its directory and the mode of the socket let nobody else in.
"""


class ErrorReply(msgspec.Struct):
    """The body of every reply with a status of 400 and above."""

    error: str


class ControlError(Exception):
    """The control socket cannot be used. The text says why, and what to do."""


class NotRunningError(ControlError):
    """No daemon listens on the control socket."""


class UnwritableError(ControlError):
    """The control socket cannot be created, because the file system is full or read-only."""


class RefusedError(ControlError):
    """The daemon's reply is an error. ``status``: of HTTP, as 404."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
