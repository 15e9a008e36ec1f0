"""Runs the administrator's command for events, one at a time and in their order.

The command gets its values by environment variables and standard input.
"""

from __future__ import annotations

import os

import trio

from cuberouted.config import Config
from cuberouted.daemon.hook_queue import HookFailures, HookQueue, environment
from cuberouted.events import Emit, Event, encode
from cuberouted.util.command import RunCommand
from cuberouted.util.tasks import Signal

FINISH_TIMEOUT = 3.0
"""Seconds for the events that wait when the daemon stops. systemd waits 20 s (TimeoutStopSec=)."""


class Hooks:
    """The hook of the configuration. Without one it only waits for a reload.

    `put` is a listener of the `EventRing`.
    """

    def __init__(self, config: Config, run_command: RunCommand, emit: Emit) -> None:
        self._run_command = run_command
        self._emit = emit
        self._queue = HookQueue()
        self._failures = HookFailures()
        self._wake = Signal()
        self._finishing = False
        self._ended = trio.Event()
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Apply *config* from the next event on. A command that runs goes on."""
        self._argv = config.hook
        self._timeout = config.hook_timeout
        self._queue.types = frozenset(config.hook_events)
        if not self._argv:
            self._queue.clear()

    @property
    def failures(self) -> int:
        """How many runs have failed."""
        return self._failures.count

    def put(self, event: Event) -> None:
        """Run the hook for *event*, if it is to be run for such events."""
        if self._argv and self._queue.put(event):
            self._wake.set()

    async def run(self) -> None:
        """Run the commands until `finish`. When cancelled, kill the one that runs."""
        try:
            while True:
                event = self._queue.take()
                if event is not None:
                    await self._handle(event)
                elif self._finishing:
                    return
                else:
                    await self._wake.wait()
        finally:
            self._ended.set()

    async def finish(self) -> None:
        """Wait until the events so far are handled, but no longer than FINISH_TIMEOUT."""
        self._finishing = True
        self._wake.set()
        with trio.move_on_after(FINISH_TIMEOUT):
            await self._ended.wait()

    async def _handle(self, event: Event) -> None:
        argv = self._argv
        loss = self._queue.loss(trio.current_time())
        if loss is not None:
            self._emit(loss)
        env = {key: os.fsdecode(value) for key, value in environment(event).items()}
        end = await self._run_command(argv, env=env, stdin=encode(event), time_limit=self._timeout)
        failure = self._failures.event(argv[0], event, end, trio.current_time())
        if failure is not None:
            self._emit(failure)
