"""One ``[service NAME]`` section at work: its machine, and the commands that it runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import trio

from cuberouted.config import ServiceConfig
from cuberouted.model import printable_name
from cuberouted.service_claim import ServiceClaim, ServicePhase
from cuberouted.services.machine import ServiceMachine
from cuberouted.services.types import Program, Run
from cuberouted.util.command import CommandEnd, RunCommand
from cuberouted.util.histogram import Histogram

MAX_LINE = 100
"""Characters of what a command has written last, in a reason."""

CHECK_DURATIONS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: the bounds of the histogram of checks."""


@attrs.define(eq=False)
class LocalService:
    """A service of this node. *run_command* runs its commands, with the variables of *variables*;
    *on_end* is called after each.

    ``claim``: as it is advertised, None before the first. ``failed``: why fence, on_acquire and
    on_release have failed, until they succeed, it has the address, or a reload; ``check_failed``:
    why the last check has.
    ``retiring``: the section is gone, or the daemon stops. ``check_durations``: seconds that each
    check took.
    """

    machine: ServiceMachine
    run_command: RunCommand
    variables: Callable[[Run], dict[str, str]]
    on_end: Callable[[], None]
    claim: ServiceClaim | None = attrs.field(default=None, init=False)
    failed: dict[Program, str] = attrs.field(factory=dict, init=False)
    check_failed: str = attrs.field(default="", init=False)
    retiring: bool = attrs.field(default=False, init=False)
    check_durations: Histogram = attrs.field(factory=lambda: Histogram(CHECK_DURATIONS), init=False)
    _command: trio.CancelScope | None = attrs.field(default=None, init=False)
    _check: trio.CancelScope | None = attrs.field(default=None, init=False)

    @property
    def config(self) -> ServiceConfig:
        """Its section."""
        return self.machine.config

    @property
    def check_due(self) -> float:
        """When the next check has to be started; not while one runs, nor for one that ends."""
        idle = self._check is None and not self.retiring
        return self.machine.check_due if idle else math.inf

    def advertised(self, claim: ServiceClaim) -> None:
        """*claim* is what the peers are told from now on."""
        self.claim = claim
        if claim.phase is ServicePhase.HOLDING:
            self.failed.clear()

    def retire(self, now: float) -> None:
        """Give the address up in order, and then end."""
        if not self.retiring:
            self.retiring = True
            self.machine.stop(now)

    def start(self, run: Run, nursery: trio.Nursery) -> None:
        """Run fence, on_acquire or on_release. One that a reload has just removed succeeds."""
        self._command = trio.CancelScope()
        argv: tuple[str, ...] = getattr(self.config, run.program.value)
        nursery.start_soon(self._run, run, argv, self._command)

    def start_check(self, nursery: trio.Nursery) -> None:
        """Run the check."""
        self._check = trio.CancelScope()
        nursery.start_soon(self._run_check, self.config.check, self._check)

    def kill(self) -> None:
        """Kill the command that runs, not the check."""
        if self._command is not None:
            self._command.cancel()

    def cancel(self) -> None:
        """Kill all that runs: it is over."""
        self.kill()
        if self._check is not None:
            self._check.cancel()

    async def _run(self, run: Run, argv: tuple[str, ...], scope: trio.CancelScope) -> None:
        ok, why = not argv, "killed" if argv else ""
        with scope:
            if argv:
                end = await self.run_command(
                    argv, env=self.variables(run), time_limit=self.config.command_timeout
                )
                ok, why = not end.failed, _why(argv, end, "command_timeout")
        self._command = None
        if ok:
            self.failed.pop(run.program, None)
        elif not scope.cancelled_caught:
            self.failed[run.program] = why
        self.machine.ended(run.program, ok, why, trio.current_time())
        self.on_end()

    async def _run_check(self, argv: tuple[str, ...], scope: trio.CancelScope) -> None:
        began = trio.current_time()
        with scope:
            end = await self.run_command(
                argv,
                env=self.variables(Run(Program.CHECK)),
                time_limit=self.config.check_timeout,
            )
            self.check_durations.observe(trio.current_time() - began)
            if argv == self.config.check:  # a reload may have replaced it meanwhile
                self.check_failed = _why(argv, end, "check_timeout")
                now = trio.current_time()
                self.machine.ended(Program.CHECK, not end.failed, self.check_failed, now)
        self._check = None
        self.on_end()


def _why(argv: tuple[str, ...], end: CommandEnd, time_limit: str) -> str:
    """Why a command has failed, or empty. *time_limit*: the key that limits its time."""
    if not end.failed:
        return ""
    line = printable_name(end.last_line)[:MAX_LINE]
    return f"{argv[0]} {end.how(time_limit)}{': ' if line else ''}{line}"
