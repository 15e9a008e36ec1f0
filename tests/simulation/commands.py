"""The commands of a node's services, in memory; the simulation is told of each start and end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import trio

from cuberouted.util.command import CommandEnd
from tests.fakes.commands import Behaviour, FakeCommands

FAILS = Behaviour(status=1, duration=0.01)


class Command(NamedTuple):
    """A command of a service. ``peer``: whom a fence is about, or empty."""

    program: str
    service: str
    peer: str = ""

    @property
    def path(self) -> str:
        """Its path in the configuration."""
        return f"/{self.program}/{self.service}"


class Outcome(NamedTuple):
    """How a run ended: ``ok``: with success; ``killed``: by the daemon, before its time limit."""

    ok: bool
    killed: bool


class Commands(FakeCommands):
    """All commands of one node. ``on_start`` and ``on_end`` are called at once.

    *durations*: how many seconds they take, by path. ``misbehaving``: the paths of those that a
    fault has changed.
    """

    def __init__(self, durations: Mapping[str, float]) -> None:
        super().__init__()
        self._usual = {path: Behaviour(duration=length) for path, length in durations.items()}
        self.behaviours |= self._usual
        self.misbehaving: set[str] = set()
        self.kill_delay = 0.05
        self.on_start: Callable[[Command], None] = lambda _: None
        self.on_end: Callable[[Command, Outcome], None] = lambda *_: None

    def misbehave(self, path: str, does: Behaviour) -> None:
        """The command does this until `recover`."""
        self.misbehaving.add(path)
        self.behaviours[path] = does

    def recover(self, path: str) -> None:
        """It does what it has always done."""
        self.misbehaving.discard(path)
        self.behaviours[path] = self._usual.get(path, Behaviour())

    def behaviour(self, program: str, service: str) -> Behaviour:
        """What it does when it is run now."""
        return self.behaviours.get(Command(program, service).path, Behaviour())

    def succeeds(self, program: str, service: str, time_limit: float) -> bool:
        """Whether it succeeds within *time_limit* seconds."""
        does = self.behaviour(program, service)
        return does.status == 0 and does.duration < time_limit

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: bytes = b"",
        time_limit: float,
    ) -> CommandEnd:
        """See `cuberouted.util.command.run_command`."""
        _, program, service = argv[0].split("/")
        command = Command(program, service, env.get("CUBEROUTED_PEER", ""))
        self.on_start(command)
        try:
            end = await super().run(argv, env=env, stdin=stdin, time_limit=time_limit)
        except trio.Cancelled:
            self.on_end(command, Outcome(ok=False, killed=True))
            raise
        self.runs.clear()
        self.on_end(command, Outcome(ok=not end.failed, killed=False))
        return end
