"""The administrator's commands of a fake host."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs
import trio

from cuberouted.util.command import CommandEnd


@attrs.frozen
class Behaviour:
    """What a command does: it ends after *duration* seconds (inf: it hangs) with *status*."""

    status: int = 0
    duration: float = 0.0
    stderr: bytes = b""


HANGS = Behaviour(duration=math.inf)


@attrs.define
class CommandRun:
    """A run of a command. ``began`` and ``ended``: seconds; ``ended`` is inf while it runs.

    ``killed``: it was ended before its own end.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    began: float
    ended: float = math.inf
    killed: bool = False


class FakeCommands:
    """``behaviours``: what each command does, by its path, as of its next run; others succeed.

    ``runs``: all of them, oldest first. ``kill_delay``: seconds that a command lives on when it is
    killed.
    """

    def __init__(self) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self.runs: list[CommandRun] = []
        self.kill_delay = 0.0

    def of(self, path: str) -> list[CommandRun]:
        """The runs of the command *path*, oldest first."""
        return [run for run in self.runs if run.argv[0] == path]

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: bytes = b"",
        time_limit: float,
    ) -> CommandEnd:
        """See `cuberouted.util.command.run_command`."""
        del stdin
        does = self.behaviours.get(argv[0], Behaviour())
        run = CommandRun(tuple(argv), MappingProxyType(dict(env)), trio.current_time())
        self.runs.append(run)
        run.killed = True
        try:
            with trio.move_on_after(time_limit) as limit:
                await trio.sleep(does.duration)
                run.killed = False
        finally:
            if run.killed:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.kill_delay)
            run.ended = trio.current_time()
        if limit.cancelled_caught:
            return CommandEnd(-15, timed_out=True, stderr=does.stderr)
        return CommandEnd(does.status, stderr=does.stderr)
