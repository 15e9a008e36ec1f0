"""Runs the administrator's command for events, one at a time and in their order.

The command gets its values by environment variables and standard input, never by a shell: they
come from clients.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

import attrs
import trio

from cuberouted.config import Config
from cuberouted.daemon.hook_queue import (
    MAX_STDERR,
    HookEnd,
    HookFailures,
    HookQueue,
    environment,
)
from cuberouted.events import Emit, Event, encode
from cuberouted.util.tasks import Signal

KILL_DELAY = 1.0
"""Seconds from SIGTERM to SIGKILL."""

PIPE_TIMEOUT = 0.1
"""Seconds for the rest of standard error after the command's end: a child may keep it open."""

FINISH_TIMEOUT = 3.0
"""Seconds for the events that wait when the daemon stops. systemd waits 10 s (TimeoutStopSec=)."""


class Hooks:
    """The hook of the configuration. Without one it only waits for a reload.

    `put` is a listener of the `EventRing`.
    """

    def __init__(self, config: Config, emit: Emit) -> None:
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
        end = await _run_command(argv, event, self._timeout)
        failure = self._failures.event(argv[0], event, end, trio.current_time())
        if failure is not None:
            self._emit(failure)


async def _run_command(argv: tuple[str, ...], event: Event, time_limit: float) -> HookEnd:
    """Run *argv* for *event*, in a process group of its own."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    env |= {key: os.fsdecode(value) for key, value in environment(event).items()}
    try:
        process = await trio.lowlevel.open_process(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=env,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return HookEnd(None, stderr=(error.strerror or str(error)).encode())
    except ValueError as error:  # its arguments cannot be written in the locale's encoding
        return HookEnd(None, stderr=str(error).encode())
    stdin, stderr = process.stdin, process.stderr
    assert stdin is not None and stderr is not None  # noqa: S101, PT018 - they are pipes
    tail = _Tail()
    async with trio.open_nursery() as pipes:
        pipes.start_soon(_send, stdin, encode(event))
        pipes.start_soon(tail.collect, stderr)
        try:
            with trio.move_on_after(time_limit) as limit:
                await process.wait()
        finally:
            if process.returncode is None:
                await _kill_group(process)
        pipes.cancel_scope.deadline = trio.current_time() + PIPE_TIMEOUT
    return HookEnd(process.returncode, limit.cancelled_caught, tail.data)


@attrs.define
class _Tail:
    """The end of what a command has written to standard error."""

    data: bytes = b""

    async def collect(self, stream: trio.abc.ReceiveStream) -> None:
        async with stream:
            async for received in stream:
                self.data = (self.data + received)[-MAX_STDERR:]


async def _send(stream: trio.abc.SendStream, data: bytes) -> None:
    # a command that uses the variables need not read
    with contextlib.suppress(trio.BrokenResourceError):
        async with stream:
            await stream.send_all(data)


async def _kill_group(process: trio.Process) -> None:
    """End a command and its children, also when the daemon ends."""
    with trio.CancelScope(shield=True):
        for number in (signal.SIGTERM, signal.SIGKILL):
            # whatever is left of the group: the command may end before its children
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with trio.move_on_after(KILL_DELAY):
                await process.wait()
