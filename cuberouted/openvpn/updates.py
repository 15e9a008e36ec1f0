"""Passes the updates of one OpenVPN process on, in order, and runs its hold timer."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from cuberouted.util.lock import FastPathLock

OnUpdate = Callable[[SessionUpdate], Awaitable[None]]


class UpdateTask:
    """Awaits ``on_update(update)`` for every update, one at a time.

    Only `run` waits for time to pass: it withdraws *sessions* when OpenVPN has served no clients
    for *hold_time* seconds.
    """

    def __init__(self, sessions: Sessions, hold_time: float, on_update: OnUpdate) -> None:
        self._sessions = sessions
        self._hold_time = hold_time
        self._on_update = on_update
        self._lock = FastPathLock()  # fair: updates are passed on in the order of the calls
        self._deadline = math.inf
        self._sleep = trio.CancelScope()

    def set_hold_time(self, hold_time: float) -> None:
        """Hold sessions for so many seconds, from the next outage on."""
        self._hold_time = hold_time

    async def send(self, update: SessionUpdate) -> None:
        """Pass *update* on, after all that were sent before."""
        async with self._lock:
            await self._on_update(update)

    def hold(self) -> None:
        """OpenVPN serves no clients from now on, if it did before."""
        self._set_deadline(min(self._deadline, trio.current_time() + self._hold_time))

    def release(self) -> None:
        """OpenVPN has been listed completely: keep its sessions."""
        self._set_deadline(math.inf)

    async def run(self) -> None:
        """Run the hold timer until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._deadline) as self._sleep:
                await trio.sleep_forever()
            if trio.current_time() >= self._deadline:  # not if it was released meanwhile
                self._deadline = math.inf
                update = self._sessions.withdraw_all()
                if update is not None:
                    await self.send(update)

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = self._sleep.deadline = deadline
