"""`cuberouted graceful-restart`."""

from __future__ import annotations

import click

from cuberouted.api.report_drain import (
    MAX_RESTART_TIME,
    GracefulRestart,
    GracefulRestartOrder,
)
from cuberouted.cli.context import Location, json_option, location_options, print_json, query_daemon
from cuberouted.config.converters import duration


def _within(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    try:
        return duration(0.0, MAX_RESTART_TIME)(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("graceful-restart", short_help="Keep the routes at the restart that follows.")
@location_options
@click.option(
    "--within",
    default="60s",
    show_default=True,
    callback=_within,
    metavar="TIME",
    help="How long the order is in force; 0s revokes it.",
)
@json_option
@click.pass_obj
def graceful_restart(location: Location, within: float, as_json: bool) -> None:
    """Keep the routes, here and on the other servers, if the daemon is stopped now.

    \b
    cuberouted graceful-restart && systemctl restart cuberouted

    loses no packet, whatever `on_exit` says. The order is in force for a minute, and until the
    daemon ends; a stop after that does what `on_exit` says. The other servers keep the routes to
    this one for their `restart_time`. Only root and the group cuberouted-admin may give this order.
    """  # noqa: D301 - \b is click's own mark
    order = GracefulRestartOrder(within)
    reply = query_daemon(location, "/v1/graceful-restart", GracefulRestart, body=order)
    if as_json:
        print_json(reply)
    else:
        click.echo(_sentence(reply))


def _sentence(reply: GracefulRestart) -> str:
    if reply.on_exit == "keep":
        return f"{reply.node}: every stop keeps the routes (on_exit = keep)"
    if not reply.within:
        return f"{reply.node}: every stop withdraws the routes (on_exit = {reply.on_exit})"
    return (
        f"{reply.node}: a stop within {reply.within:g} s keeps the routes:"
        " `systemctl restart cuberouted`"
    )
