"""`cuberouted status` and `clients`."""

from __future__ import annotations

import sys

import click

from cuberouted.api import report
from cuberouted.api.selection import Selection
from cuberouted.cli.context import (
    PROBLEM,
    Location,
    json_option,
    location_options,
    output,
    pager_option,
    query_daemon,
)
from cuberouted.cli.select import output_rows, selection_options


@click.command()
@location_options
@json_option
@click.pass_obj
def status(location: Location, *, as_json: bool) -> None:
    """Show this node, its OpenVPN, its peers.

    Exits with 1 unless OpenVPN is connected, every peer is up, and there is no other problem.
    """
    reply = query_daemon(location, "/v1/status", report.Status)
    output(reply, as_json=as_json)
    sys.exit(0 if reply.well else PROBLEM)


@click.command()
@location_options
@selection_options
@json_option
@pager_option
@click.pass_obj
def clients(location: Location, selection: Selection, *, as_json: bool, no_pager: bool) -> None:
    """Show every client in the mesh: where it is, since when.

    ADDRESS|NETWORK|NAME: only this address, what lies in this network, or clients of this name. In
    names, * is any characters and ? is one.

    Exits with 1 if no client matches.
    """
    reply = query_daemon(location, f"/v1/clients{selection.query}", report.Clients)
    output_rows(reply, reply.clients, "client", selection, as_json=as_json, paged=not no_pager)
