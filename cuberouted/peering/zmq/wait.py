"""Waiting for a ZeroMQ socket in trio.

ZeroMQ's descriptor becomes readable when something *may* have changed, and any call on
the socket can take that sign back. So ZMQ_EVENTS decides, is read before every wait, and
whoever else used the socket has to `nudge` the task that waits.
"""

from __future__ import annotations

from math import inf

import trio
import zmq

_READABLE = int(zmq.POLLIN)


class ZmqReadable:
    """Wakes one task when *socket* can be received from."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._fd = socket.fileno()
        self._scope: trio.CancelScope | None = None

    async def readable(self, deadline: float = inf) -> None:
        """Wait until there is something to receive, `nudge` or *deadline*. One task at a time."""
        with trio.CancelScope(deadline=deadline) as self._scope:
            while not self._pending():
                await trio.lowlevel.wait_readable(self._fd)
        self._scope = None

    def recheck(self) -> None:
        """Make the waiting task look again: the socket was used, or is about to be closed."""
        if self._scope is not None:
            self._scope.cancel()

    def recheck_if_readable(self) -> None:
        """After a send: it may have taken in what the waiting task waits for."""
        if self._pending():
            self.recheck()

    def _pending(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE)
