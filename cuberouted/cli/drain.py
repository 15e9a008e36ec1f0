"""`cuberouted drain` and `cuberouted resume`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from cuberouted.api import client
from cuberouted.api.protocol import ControlError, NotRunningError
from cuberouted.api.report_drain import DrainOrder, DrainReport, ResumeOrder
from cuberouted.cli import render_drain
from cuberouted.cli.context import (
    NOT_RUNNING,
    PROBLEM,
    Location,
    daemon_socket,
    fail,
    json_option,
    location_options,
    print_json,
    query_daemon,
)
from cuberouted.cli.terminal import Terminal, cut
from cuberouted.cli.until import parse_until
from cuberouted.config.converters import duration
from cuberouted.model import printable_name

T = TypeVar("T")

TIMEOUT = 30.0
"""Seconds for the reply: the state is written to the disk before."""

POLL_INTERVAL = 1.0
"""Seconds between two questions how far it is."""

LINE_INTERVAL = 10.0
"""Seconds between two lines on it where standard output is no terminal."""

RESTART_TIME = 60.0
"""Seconds for which a daemon that is being restarted is waited for."""

MAX_REASON = 500
"""Characters, as in `DrainOrder`."""

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def _read_by(read: Callable[[str], T]) -> Callable[..., T | None]:
    """A callback of an option whose value *read* reads. It raises ValueError."""

    def callback(_ctx: click.Context, _param: click.Parameter, value: str | None) -> T | None:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def _until(text: str) -> int:
    return parse_until(text, time.time())


@click.command(short_help="Send this server's clients and services to the others.")
@location_options
@click.option(
    "--over",
    callback=_read_by(duration(0.0)),
    metavar="TIME",
    help="Send all clients on within TIME.  [default: 5 clients a second]",
)
@click.option("--wait", is_flag=True, help="Wait until nobody is left, and report who went where.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--force", is_flag=True, help="Also if the other servers cannot take the clients.")
@click.option("--reason", default="", metavar="TEXT", help="Why; shown on every server.")
@click.option(
    "--until", callback=_read_by(_until), metavar="TIME", help="Resume by itself: 18:00, 2h, ...."
)
@json_option
@click.pass_obj
def drain(location: Location, /, wait: bool, as_json: bool, **options: Any) -> None:
    """Take this server out of service: send its services, then its clients to the others.

    Each client is told to try the next server of its list. Whoever comes back, or connects here
    later, is sent on again, until `cuberouted resume`. That is kept over a restart. Given once
    more, the command changes how it goes on.

    Refuses if no other server takes clients, or their capacity would be exceeded. Only root and
    the group cuberouted-admin may give this order.

    Exits with 0 if the order was given; with --wait if all clients and services have moved; with
    130 if Ctrl-C ended the waiting.
    """
    if wait and options["dry_run"]:
        raise click.UsageError("--dry-run and --wait cannot be given together")
    options["reason"] = printable_name(os.fsencode(options["reason"]))[:MAX_REASON]
    order = DrainOrder(**options)
    report = query_daemon(location, "/v1/drain", DrainReport, body=order, timeout=TIMEOUT)
    show = not as_json
    if order.dry_run:
        _finish(report, render_drain.planned(report, order.over), as_json, not report.refused)
    begun = render_drain.begun(report)
    if not wait:
        follow = "`cuberouted drain --wait` waits for the end" if not report.finished else ""
        _finish(report, [*begun, *filter(None, [follow])], as_json, True)
    for line in begun if show else ():
        click.echo(line)
    target = "/v1/drain?all=1" if as_json else "/v1/drain"
    with daemon_socket(location) as socket:
        _wait(socket, report, show=show)
        report = client.get(socket, target, DrainReport, TIMEOUT)
    if report.state == "active":
        fail(f"{report.node} was resumed before its clients had moved", PROBLEM)
    _finish(report, render_drain.result(report), as_json, render_drain.is_well(report))


@click.command(short_help="Put this server into service again, after `drain`.")
@location_options
@json_option
@click.pass_obj
def resume(location: Location, as_json: bool) -> None:
    """Put this server into service again: its services and clients may come back.

    Only root and the group cuberouted-admin may give this order. No client is called back:
    `cuberouted rebalance` on another server sends some here.
    """
    report = query_daemon(location, "/v1/resume", DrainReport, body=ResumeOrder(), timeout=TIMEOUT)
    _finish(report, render_drain.resumed(report), as_json, report.state == "active")


def _finish(report: DrainReport, lines: list[str], as_json: bool, well: bool) -> None:
    if as_json:
        print_json(report)
    else:
        terminal = Terminal.of(sys.stdout)
        for line in lines:
            click.echo(terminal.wrap(terminal.show(line), 2))
    sys.exit(0 if well else PROBLEM)


def _wait(socket: Path, begun: DrainReport, *, show: bool) -> None:
    """Show how far it is until nobody is waited for. *begun*: the report that has been shown."""
    display = _Display(Terminal.of(sys.stdout), set(begun.problems)) if show else None
    ask = _Patience(lambda: client.get(socket, "/v1/drain", DrainReport, TIMEOUT))
    try:
        while True:
            report = ask()
            if render_drain.is_over(report) or report.state == "active":
                return
            if display:
                display.tell(report.problems)
                display.update(render_drain.progress(report), time.monotonic())
            time.sleep(POLL_INTERVAL)
    except KeyboardInterrupt:
        if display:
            display.clear()
        fail(
            f"not waiting any more; {begun.node} goes on draining: `cuberouted drain --wait` waits"
            " again, `cuberouted resume` ends it",
            INTERRUPTED,
        )
    finally:
        if display:
            display.clear()


@attrs.define
class _Patience:
    """Asks again while the daemon is being restarted, which does not end a drain."""

    ask: Callable[[], DrainReport]

    def __call__(self) -> DrainReport:
        give_up_at = time.monotonic() + RESTART_TIME
        while True:
            try:
                return self.ask()
            except NotRunningError as error:
                if time.monotonic() >= give_up_at:
                    fail(f"{error}; it goes on when the daemon is started again", NOT_RUNNING)
            except ControlError as error:
                if time.monotonic() >= give_up_at:
                    fail(str(error), PROBLEM)
            time.sleep(POLL_INTERVAL)


@attrs.define
class _Display:
    """One line that is written again and again; where that is impossible, a line now and then.

    ``told``: the problems that have been shown, each once.
    """

    terminal: Terminal
    told: set[str] = attrs.field(factory=set)
    _shown: str = ""
    _next_line: float = 0.0

    def update(self, text: str, now: float) -> None:
        text = self.terminal.show(text)
        if self.terminal.width is not None:
            text = cut(text, self.terminal.width - 1, "...")
            click.echo(f"\r\x1b[K{text}", nl=False, color=True)
            self._shown = text
        elif text != self._shown and now >= self._next_line:
            click.echo(text)
            sys.stdout.flush()
            self._shown, self._next_line = text, now + LINE_INTERVAL

    def tell(self, problems: Iterable[str]) -> None:
        for problem in problems:
            if problem not in self.told:
                self.clear()
                self.told.add(problem)
                click.echo(self.terminal.wrap(self.terminal.show(f"note: {problem}"), 2))
                sys.stdout.flush()

    def clear(self) -> None:
        if self.terminal.width is not None and self._shown:
            click.echo("\r\x1b[K", nl=False, color=True)
            self._shown = ""
