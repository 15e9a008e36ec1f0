"""`cuberouted history`."""

from __future__ import annotations

import datetime as dt
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from cuberouted.cli.context import Location, daemon_socket, location_options, pager_option
from cuberouted.cli.monitor import decode, event_line
from cuberouted.cli.pager import print_lines
from cuberouted.cli.terminal import Terminal

if TYPE_CHECKING:
    from cuberouted.cli.event_lines import Selection
    from cuberouted.events import Event

KEPT = "/v1/events?after=0&follow=0"
"""Every event that is still kept."""


def _parse_since(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> dt.datetime | None:
    from cuberouted.cli.event_lines import parse_since

    try:
        return None if value is None else parse_since(value, dt.datetime.now().astimezone())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@attrs.frozen
class Kept:
    """Events of the past, oldest first, with the lines that they came in.

    ``forgotten``: number of events before the first one that are not kept any more; 0 if the
    user did not ask for them.
    """

    events: list[tuple[Event, bytes]]
    forgotten: int


@click.command(short_help="Show events of the past.")
@location_options
@click.argument("target", metavar="[ADDRESS|NAME]", required=False)
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last so many.")
@click.option(
    "--since",
    metavar="TIME",
    callback=_parse_since,
    help="Only later ones: 10min, 09:00 or 2026-11-27T09:00.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show each change of a route, too.")
@pager_option
@click.pass_obj
def history(
    location: Location,
    target: str | None,
    lines: int | None,
    since: dt.datetime | None,
    as_json: bool,
    verbose: bool,
    no_pager: bool,
) -> None:
    """Show what has happened in the mesh, oldest first.

    ADDRESS|NAME: only what is about this address, client, node, service or OpenVPN process. The
    daemon keeps its newest events, events_kept in its configuration, until it ends; the journal
    has those before.
    """
    from cuberouted.cli.event_lines import Selection, Target

    selection = Selection(None if target is None else Target.parse(target), verbose or as_json)
    with daemon_socket(location) as socket:
        kept = read(socket, selection, lines, since)
    if as_json:
        for _event, line in kept.events:
            click.echo(line)  # bytes: JSON is UTF-8, whatever the terminal is
        return
    if kept.forgotten:
        click.echo(f"{_events(kept.forgotten)} before these are not kept any more", err=True)
    terminal = Terminal.of(sys.stdout)
    lines_of_text = [event_line(event, terminal) for event, _line in kept.events]
    print_lines(lines_of_text, terminal, paged=not no_pager)


def read(socket: Path, selection: Selection, lines: int | None, since: dt.datetime | None) -> Kept:
    """The kept events in *selection*, the last *lines* of them, not before *since*.

    Raises:
      ControlError: the daemon cannot be used.
    """
    from cuberouted.api import client

    with closing(client.lines(socket, KEPT)) as received:
        return select(map(_decoded, received), selection, lines, since)


def select(
    events: Iterable[tuple[Event, bytes]],
    selection: Selection,
    lines: int | None,
    since: dt.datetime | None,
) -> Kept:
    """See `read`."""
    forgotten = number = 0
    found: deque[tuple[Event, bytes]] = deque(maxlen=lines)
    for count, (event, line) in enumerate(events):
        if count == 0 and (since is None or event.time > since):
            forgotten = event.number - 1  # numbers begin at 1 with the daemon
        if selection.shows(event) and (since is None or event.time >= since):
            found.append((event, line))
            number += 1
    return Kept(list(found), forgotten if len(found) == number else 0)


def _decoded(line: bytes) -> tuple[Event, bytes]:
    return decode(line), line


def _events(number: int) -> str:
    from cuberouted.api.report import pluralize

    return pluralize(number, "event")
