"""Passes the updates of one OpenVPN process on, in order, and runs its hold timer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from cuberouted.openvpn.hold import SessionHold
from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from cuberouted.util.lock import FastPathLock

OnUpdate = Callable[[SessionUpdate], Awaitable[None]]


class UpdateTask:
    """Awaits ``on_update(update)`` for every update, one at a time.

    Only `run` waits for time to pass; it withdraws the sessions at the end of the hold time.
    """

    def __init__(self, sessions: Sessions, hold_time: float, on_update: OnUpdate) -> None:
        self._hold = SessionHold(sessions, hold_time)
        self._on_update = on_update
        self._lock = FastPathLock()  # fair: updates are passed on in the order of the calls
        self._sleep = trio.CancelScope()

    def set_hold_time(self, hold_time: float) -> None:
        """Hold sessions for so many seconds, from the next outage on."""
        self._hold.hold_time = hold_time

    async def send(self, update: SessionUpdate) -> None:
        """Pass *update* on, after all that were sent before."""
        async with self._lock:
            await self._on_update(update)

    def hold(self) -> None:
        """OpenVPN serves no clients: withdraw its sessions after the hold time."""
        self._hold.start(trio.current_time())
        self._sleep.deadline = self._hold.deadline

    def release(self) -> None:
        """OpenVPN has been listed completely: keep its sessions."""
        self._hold.stop()
        self._sleep.deadline = self._hold.deadline

    async def run(self) -> None:
        """Run the hold timer until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._hold.deadline) as self._sleep:
                await trio.sleep_forever()
            update = self._hold.timer(trio.current_time())
            if update is not None:
                await self.send(update)
