"""`cuberouted disconnect`."""

from __future__ import annotations

import os
import sys

import click

from cuberouted.api.report_disconnect import DisconnectOrder, DisconnectReport
from cuberouted.cli.context import (
    PROBLEM,
    Location,
    json_option,
    location_options,
    print_json,
    query_daemon,
)
from cuberouted.model import printable_name

TIMEOUT = 30.0
"""Seconds for the reply: a peer that does not answer is asked again for 16."""


@click.command(short_help="End the sessions of a client, wherever it is connected.")
@location_options
@click.argument("name")
@click.option("--from", "from_node", metavar="NODE", help="Only at this node.")
@json_option
@click.pass_obj
def disconnect(location: Location, name: str, from_node: str | None, as_json: bool) -> None:
    """End the sessions of the client NAME, wherever it is connected.

    NAME is the common name as `clients` shows it. Other servers do this only if
    allow_remote_disconnect = yes is set there. Only root and the group cuberouted-admin may give
    this order.

    The client may connect again at once. To keep it out, first write a line `disable` into its file
    in the client-config-dir of every server, or revoke its certificate in the file of crl-verify.

    Exits with 0 if a session was ended, and none is left that is known.
    """
    order = DisconnectOrder(_printable(name), _printable(from_node) if from_node else None)
    report = query_daemon(location, "/v1/disconnect", DisconnectReport, body=order, timeout=TIMEOUT)
    if as_json:
        print_json(report)
    else:
        for line in report.sentences():
            click.echo(line)
    sys.exit(0 if report.is_done else PROBLEM)


def _printable(argument: str) -> str:
    return printable_name(os.fsencode(argument))
