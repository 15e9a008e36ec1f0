"""`cuberouted rebalance`."""

from __future__ import annotations

import click

from cuberouted.api.report import pluralize
from cuberouted.api.report_drain import MIN_PER_MINUTE, RebalanceOrder, RebalanceReport
from cuberouted.cli.context import (
    Location,
    json_option,
    location_options,
    print_json,
    query_daemon,
)


class _Number(click.FloatRange):
    name = "number"  # as messages call it; else it is a "float range"


@click.command(short_help="Send some of this server's clients on, until all have their share.")
@location_options
@click.option(
    "--per-minute",
    type=_Number(MIN_PER_MINUTE, 6000),
    default=10.0,
    show_default=True,
    metavar="N",
    help="Clients a minute.",
)
@click.option("--stop", is_flag=True, help="Send on no more.")
@json_option
@click.pass_obj
def rebalance(location: Location, per_minute: float, stop: bool, as_json: bool) -> None:
    """Send some of this server's clients on, until all servers have their share.

    The share is the same for all, or in proportion to their capacities if all have one. No client
    is sent on twice; which server it tries next is up to its own list. It goes on in the
    background, and ends when the clients are even, with `drain`, with --stop, or with the daemon.

    Only root and the group cuberouted-admin may give this order.

    Exits with 0 also if there is nothing to do; with 1 on a server that is not active.
    """
    order = RebalanceOrder(per_minute, stop)
    report = query_daemon(location, "/v1/rebalance", RebalanceReport, body=order)
    if as_json:
        print_json(report)
        return
    share = (
        f"{report.node} has {pluralize(report.clients, 'client')}, its share is {report.share:g}"
    )
    click.echo(f"{share}: {report.text}")
    if stop:
        click.echo(f"{pluralize(report.sent, 'client')} sent on")
