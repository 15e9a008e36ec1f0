"""Waiting for a ZeroMQ socket in trio.

The descriptor of a ZeroMQ socket becomes readable when its state *may* have changed, and any
call on the socket may consume that notification. So ZMQ_EVENTS is read before every wait, and
other users of the socket have to call `recheck` to wake the waiting task.
"""

from __future__ import annotations

from math import inf

import trio
import zmq

_READABLE = int(zmq.POLLIN)


class ZmqReadable:
    """Lets one task wait until *socket* can be received from."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._fd = socket.fileno()
        self._scope: trio.CancelScope | None = None

    async def readable(self, deadline: float = inf) -> None:
        """Wait for a message, `recheck` or *deadline*. One task at a time."""
        with trio.CancelScope(deadline=deadline) as self._scope:
            while not self._has_message():
                await trio.lowlevel.wait_readable(self._fd)
        self._scope = None

    def recheck(self) -> None:
        """Wake the waiting task. Call this before the socket is closed or replaced."""
        if self._scope is not None:
            self._scope.cancel()

    def recheck_if_readable(self) -> None:
        """Wake the waiting task if there is a message. Call this after a send."""
        if self._has_message():
            self.recheck()

    def _has_message(self) -> bool:
        if self._socket.closed:  # while the task was about to run: it has to look for another
            return True
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE)
