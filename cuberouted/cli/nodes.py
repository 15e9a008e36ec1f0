"""`cuberouted nodes`."""

from __future__ import annotations

import random
import sys

import click

from cuberouted.api import report
from cuberouted.api.selection import Selection
from cuberouted.cli.context import (
    PROBLEM,
    Location,
    fail,
    json_option,
    location_options,
    output,
    pager_option,
    query_daemon,
)
from cuberouted.cli.select import output_rows, select_node


@click.command(short_help="Show every node of the mesh: up or down, its clients.")
@location_options
@select_node
@click.option("--available", is_flag=True, help="Only nodes that are up and take clients.")
@click.option(
    "--remotes",
    is_flag=True,
    help="Print OpenVPN's `remote` lines of these, in random order, and nothing else.",
)
@json_option
@pager_option
@click.pass_obj
def nodes(
    location: Location,
    selection: Selection,
    *,
    available: bool,
    remotes: bool,
    as_json: bool,
    no_pager: bool,
) -> None:
    """Show every node of the mesh as this one sees it, or those that match NODE.

    In NODE, * is any characters and ? is one.

    Exits with 1 if one is not up, or none matches; with --available, if none is; with --remotes, if
    there is no line.
    """
    if remotes and as_json:
        raise click.UsageError("--remotes and --json cannot be given together")
    reply = query_daemon(location, f"/v1/nodes{selection.query}", report.Nodes)
    well = reply.well
    if reply.nodes and (available or remotes):
        reply.nodes, well = [node for node in reply.nodes if node.available], True
        if not reply.nodes:
            if as_json:
                output(reply, as_json=True)
            fail("no node is available" if not selection else "none of these is available", PROBLEM)
    if remotes and reply.nodes:
        _print_remotes(reply)
        return
    output_rows(reply, reply.nodes, "node", selection, as_json=as_json, paged=not no_pager)
    sys.exit(0 if well else PROBLEM)


def _print_remotes(nodes: report.Nodes) -> None:
    """The lines of each node together: OpenVPN tries a server's other ports before the next one."""
    for node in nodes.nodes:
        if not node.remotes:
            click.echo(
                f"{node.name} is available, but has no `openvpn_remote` in its configuration",
                err=True,
            )
    if not any(node.remotes for node in nodes.nodes):
        sys.exit(PROBLEM)
    for node in random.SystemRandom().sample(nodes.nodes, len(nodes.nodes)):
        for remote in node.remotes:
            click.echo(f"remote {remote}")
