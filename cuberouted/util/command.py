"""Runs an administrator's command, without a shell: what it gets may come from clients."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import trio

KILL_DELAY = 1.0
"""Seconds from SIGTERM to SIGKILL."""

PIPE_TIMEOUT = 0.1
"""Seconds for the rest of standard error after the command's end: a child may keep it open."""

MAX_STDERR = 4096
"""Bytes that are kept of the end of what a command has written to standard error."""


@attrs.frozen
class CommandEnd:
    """How a run of a command ended.

    ``status``: its exit status; negative: the signal that ended it; None if it did not start.
    ``timed_out``: its time was over, and it was killed. ``stderr``: the end of what it wrote there,
    or why it did not start.
    """

    status: int | None
    timed_out: bool = False
    stderr: bytes = b""

    @property
    def failed(self) -> bool:
        """Whether it was not a success."""
        return self.timed_out or self.status != 0

    @property
    def last_line(self) -> bytes:
        """The last line of its standard error, or why it did not start."""
        lines = self.stderr.strip().splitlines()
        return lines[-1].strip() if lines else b""

    def how(self, time_limit: str) -> str:
        """How it ended, as a predicate. *time_limit*: the key that limits its time."""
        if self.timed_out:
            return f"was killed after {time_limit}"
        if self.status is None:
            return "could not be started"
        if self.status < 0:
            return f"was ended by {_signal_name(-self.status)}"
        return f"ended with exit status {self.status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


class RunCommand(Protocol):
    """See `run_command`."""

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: bytes = b"",
        time_limit: float,
    ) -> CommandEnd:
        """Run *argv* to its end."""


async def run_command(
    argv: Sequence[str], *, env: Mapping[str, str], stdin: bytes = b"", time_limit: float
) -> CommandEnd:
    """Run *argv* in a session of its own, with *env* and the daemon's PATH as its environment.

    After *time_limit* seconds, or when cancelled, it is killed with all its children.
    """
    base = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    try:
        process = await trio.lowlevel.open_process(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=base | dict(env),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return CommandEnd(None, stderr=(error.strerror or str(error)).encode())
    except ValueError as error:  # its arguments cannot be written in the locale's encoding
        return CommandEnd(None, stderr=str(error).encode())
    stdin_pipe, stderr = process.stdin, process.stderr
    assert stdin_pipe is not None and stderr is not None  # noqa: S101, PT018 - they are pipes
    tail = _Tail()
    async with trio.open_nursery() as pipes:
        pipes.start_soon(_send, stdin_pipe, stdin)
        pipes.start_soon(tail.collect, stderr)
        try:
            with trio.move_on_after(time_limit) as limit:
                await process.wait()
        finally:
            if process.returncode is None:
                await _kill_group(process)
        pipes.cancel_scope.deadline = trio.current_time() + PIPE_TIMEOUT
    return CommandEnd(process.returncode, limit.cancelled_caught, tail.data)


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
            # whatever is left of the group: the command may end before its children; and with
            # sudo and the like it may be another user's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with trio.move_on_after(KILL_DELAY):
                await process.wait()
