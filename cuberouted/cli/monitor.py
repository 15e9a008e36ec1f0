"""`cuberouted monitor`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from cuberouted.cli.context import Location, daemon_socket, location_options
from cuberouted.cli.terminal import Terminal

if TYPE_CHECKING:
    from cuberouted.cli.event_lines import Selection
    from cuberouted.events import Event

FOLLOW = "/v1/events"
"""Every event from now on."""


@click.command(short_help="Show events as they happen.")
@location_options
@click.argument("target", metavar="[ADDRESS|NAME]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show each change of a route, too.")
@click.pass_obj
def monitor(location: Location, target: str | None, as_json: bool, verbose: bool) -> None:
    """Show what happens in the mesh, as it happens, one event a line, until Ctrl-C.

    ADDRESS|NAME: only what is about this address, client, node, service or OpenVPN process. With
    --json the lines are as the daemon sends them, with changes of routes.

    Exits with 3 when the daemon stops.
    """
    from cuberouted.cli.event_lines import Selection, Target

    selection = Selection(None if target is None else Target.parse(target), verbose or as_json)
    run(location, selection, as_json=as_json)


def run(location: Location, selection: Selection, *, as_json: bool) -> NoReturn:
    """Print the events in *selection*, and exit: with a signal, or as the daemon stops."""
    try:
        with daemon_socket(location) as socket:
            follow(socket, selection, as_json)
    except KeyboardInterrupt:
        end_by(signal.SIGINT)
    raise AssertionError  # `follow` and `daemon_socket` do not return


def follow(socket: Path, selection: Selection, as_json: bool) -> NoReturn:
    """Print the events in *selection* until the daemon stops.

    Raises:
      ControlError: the daemon has stopped, or cannot be used.
    """
    from cuberouted.api import client
    from cuberouted.api.protocol import ControlError, NotRunningError

    show = json_printer(selection) if as_json else line_printer(selection)
    try:
        with closing(client.lines(socket, FOLLOW)) as received:
            for line in received:
                show(line)
                sys.stdout.flush()
    except NotRunningError:
        raise
    except ControlError:
        if client.is_served(socket):
            raise
    raise NotRunningError(f"{socket}: cuberouted has stopped")


def json_printer(selection: Selection) -> Callable[[bytes], None]:
    """Prints a line of the daemon as it is, if its event is in *selection*."""

    def show(line: bytes) -> None:
        if selection.target is None or selection.shows(decode(line)):
            click.echo(line)  # bytes: JSON is UTF-8, whatever the terminal is

    return show


def line_printer(selection: Selection) -> Callable[[bytes], None]:
    """Prints a line of the daemon for people, if its event is in *selection*."""
    terminal = Terminal.of(sys.stdout)

    def show(line: bytes) -> None:
        event = decode(line)
        if selection.shows(event):
            click.echo(event_line(event, terminal))

    return show


def decode(line: bytes) -> Event:
    """The event in *line*.

    Raises:
      ControlError: malformed.
    """
    from cuberouted import events
    from cuberouted.api.protocol import ControlError

    try:
        return events.decode(line)
    except ValueError as error:
        raise ControlError(f"malformed event (another version of cuberouted?): {error}") from None


def event_line(event: Event, terminal: Terminal) -> str:
    """The time and the sentence of *event*, with the colour of its level."""
    from cuberouted.cli.event_lines import LEVEL_STYLES, format_time, printable

    text = printable(str(event), terminal.encoding)
    style = LEVEL_STYLES.get(event.level, "")
    return f"{terminal.paint(format_time(event.time), 'dim')}  {terminal.paint(text, style)}"


def end_by(number: signal.Signals) -> NoReturn:
    """End as programs do that leave *number* to the kernel, so that a script ends as well."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    sys.exit(128 + number)  # not reached, unless the signal is blocked
