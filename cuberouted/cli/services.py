"""`cuberouted services`."""

from __future__ import annotations

import sys
import time
from fnmatch import fnmatchcase

import click
import msgspec

from cuberouted.api import report_services
from cuberouted.cli.context import (
    PROBLEM,
    Location,
    fail,
    json_option,
    location_options,
    print_json,
    query_daemon,
)


@click.command(short_help="Show the shared service addresses: which node has each, and why.")
@location_options
@click.argument("name", required=False)
@json_option
@click.pass_obj
def services(location: Location, *, name: str | None, as_json: bool) -> None:
    """Show the shared service addresses of the mesh: which node has each, and why.

    In NAME, * is any characters and ? is one.

    Exits with 1 if one is not well, or none matches.
    """
    from cuberouted.cli.render_services import service_lines
    from cuberouted.cli.terminal import Terminal

    reply = query_daemon(location, "/v1/services", report_services.Services)
    if name is not None:
        rows = [row for row in reply.services if fnmatchcase(row.name, name)]
        reply = msgspec.structs.replace(reply, services=rows)
    if as_json:
        print_json(reply)
    else:
        terminal = Terminal.of(sys.stdout)
        for line in service_lines(reply, terminal, time.time()):
            click.echo(line)
        if terminal.width is None:  # the table has no place for them
            for row in reply.services:
                for problem in row.problems:
                    click.echo(f"problem: service {row.name}: {problem}", err=True)
    if not reply.services and name is not None:
        fail(f"no service matches {name}", PROBLEM)
    if not reply.services and not as_json:
        click.echo("there is no service", err=True)
    sys.exit(0 if reply.well else PROBLEM)
