"""`cuberouted flush`."""

from __future__ import annotations

import click

from cuberouted.api import client, report
from cuberouted.api.protocol import ControlError
from cuberouted.cli.context import (
    PROBLEM,
    Location,
    fail,
    load_config,
    location_options,
    run_in_kernel,
)


@click.command(short_help="Remove everything that cuberouted installed (daemon stopped).")
@click.option(
    "--show", is_flag=True, help="Remove nothing; print the commands of iproute2 that would."
)
@location_options
@click.pass_obj
def flush(location: Location, *, show: bool) -> None:
    """Remove all routes, rules and service addresses that cuberouted installed (daemon stopped).

    Exits with 1 while the daemon is running; --show does not.
    """
    from cuberouted.routing.flush import flush as flush_kernel
    from cuberouted.routing.flush import flush_commands
    from cuberouted.routing.linux.kernel import missing_capability

    config = load_config(location.config)
    if show:
        for command in run_in_kernel(config, flush_commands, config.route_protocol):
            click.echo(command)
        return
    missing = missing_capability()
    if missing:
        fail(f"{missing} is missing: run as root", PROBLEM)
    socket = location.socket or config.control_socket
    try:
        running = client.is_served(socket)
    except ControlError as error:
        fail(str(error), PROBLEM)
    if running:
        fail(f"{socket}: cuberouted is running; stop it first", PROBLEM)
    removed = run_in_kernel(config, flush_kernel)
    text = report.pluralize(removed.routes, "route")
    if removed.addresses:
        text += f" and {removed.addresses} address{'es' * (removed.addresses > 1)} of services"
    click.echo(f"{text} removed")
