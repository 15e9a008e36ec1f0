"""Which command of a service runs, and what becomes of one that fails. Pure.

At most one of fence, on_acquire and on_release runs. A failure is published once each time, and
makes the node unfit for a back-off that doubles until the address was acquired, or a reload.
"""

from __future__ import annotations

import math

import attrs

from cuberouted.events import Emit, NodeProblem, NodeProblemEnded
from cuberouted.services.types import Program, Run

MIN_BACK_OFF, MAX_BACK_OFF = 10.0, 300.0
"""Seconds that a node is unfit after a command has failed: at first, and at most."""


@attrs.define
class Commands:
    """The commands of one service on this node.

    ``running``: the command that runs. ``failed``: why the node is unfit, valid until ``retry_at``
    (monotonic seconds). ``cannot_acquire``: fence or on_acquire was the last command to fail.
    """

    service: str
    emit: Emit
    running: Run | None = attrs.field(default=None, init=False)
    failed: str = attrs.field(default="", init=False)
    retry_at: float = attrs.field(default=-math.inf, init=False)
    cannot_acquire: bool = attrs.field(default=False, init=False)
    _new: Run | None = attrs.field(default=None, init=False)
    _kill: bool = attrs.field(default=False, init=False)
    _killed: bool = attrs.field(default=False, init=False)
    _back_off: float = attrs.field(default=MIN_BACK_OFF, init=False)
    _problem: Program | None = attrs.field(default=None, init=False)

    def start(self, run: Run) -> None:
        """Let *run* be started; nothing else runs."""
        self.running = self._new = run
        self._killed = False

    def kill(self) -> None:
        """Let the command that runs be killed. Its end is then no failure."""
        if self.running is not None and not self._killed:
            self._kill = self._killed = True

    def pop(self) -> tuple[Run | None, bool]:
        """The command to start, and whether to kill the one that runs. Once each."""
        popped = self._new, self._kill
        self._new, self._kill = None, False
        return popped

    def ended(self, program: Program, ok: bool, why: str, now: float) -> tuple[Run, bool]:
        """The running command has ended: which, and whether it has failed by itself.

        Raises:
          ValueError: it does not run.
        """
        run = self.running
        if run is None or run.program is not program:
            raise ValueError(f"service {self.service}: {program} does not run")
        self.running = None
        if ok:
            self._end_problem(program)
        elif not self._killed:
            self._fail(run, why, now)
            return run, True
        return run, False

    def forget_failures(self) -> None:
        """Start again with the shortest back-off: the address was acquired, or there was a reload,
        which is what an administrator does after mending a command.
        """
        self._back_off, self.retry_at, self.failed = MIN_BACK_OFF, -math.inf, ""
        self.cannot_acquire = False
        if self._problem is not None:
            self._end_problem(self._problem)

    def problem_at(self, now: float) -> str:
        """Why the node is unfit at *now*, or empty."""
        return self.failed if now < self.retry_at else ""

    def _fail(self, run: Run, why: str, now: float) -> None:
        what = f"{run.program} {run.peer}".rstrip()
        self.failed = f"{what}: {why}"
        self.retry_at, self._back_off = now + self._back_off, min(2 * self._back_off, MAX_BACK_OFF)
        self._problem = run.program
        self.cannot_acquire = run.program is not Program.ON_RELEASE
        self.emit(NodeProblem(what=f"service {self.service}", why=self.failed))

    def _end_problem(self, program: Program) -> None:
        if self._problem is program:
            self._problem = None
            self.emit(NodeProblemEnded(what=f"service {self.service}"))
