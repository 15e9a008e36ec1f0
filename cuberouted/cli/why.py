"""`cuberouted why`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from cuberouted.api.protocol import NotRunningError
from cuberouted.api.report_why import Why
from cuberouted.cli.context import (
    NOT_RUNNING,
    PROBLEM,
    Location,
    fail,
    json_option,
    load_config,
    location_options,
    print_json,
    query_daemon,
    run_in_kernel,
)

if TYPE_CHECKING:
    from cuberouted.config import Config
    from cuberouted.model import Prefix
    from cuberouted.routing.kernel_api import KernelApi


@click.command(short_help="Show where packets to a client go from here, and why.")
@location_options
@json_option
@click.argument("target", metavar="ADDRESS|NAME")
@click.option("--ping", is_flag=True, help="Also ping the peer through its tunnel.")
@click.option("--ping-client", is_flag=True, help="Also ping the address itself, and the peer.")
@click.pass_obj
def why(location: Location, target: str, *, as_json: bool, ping: bool, ping_client: bool) -> None:
    """Show where packets to an address or a client go from here, and why.

    The first line is the answer. Without the daemon only the kernel is asked.

    Exits with 0 only if packets get there, as far as can be seen; with 3 if only the kernel was
    asked.
    """
    path = f"/v1/why/{quote(target, safe='')}"
    answer = query_daemon(location, path, Why, without=partial(_ask_kernel, location, target))
    if ping or ping_client:
        from cuberouted.cli.ping import with_pings

        answer = with_pings(answer, client_too=ping_client)
    if as_json:
        print_json(answer)
    else:
        from cuberouted.cli.render_why import why_lines
        from cuberouted.cli.terminal import Terminal

        click.echo("\n".join(why_lines(answer, Terminal.of(sys.stdout))))
    if answer.node is None:
        sys.exit(NOT_RUNNING)
    sys.exit(0 if answer.reached else PROBLEM)


def _ask_kernel(location: Location, target: str, error: NotRunningError) -> Why:
    from cuberouted.model import Prefix

    try:
        prefix = Prefix.parse(target)
    except ValueError:
        fail(f"{error}; without it only an address can be asked for", NOT_RUNNING)
    config = load_config(location.config)
    return run_in_kernel(config, _explain, config, prefix, target)


async def _explain(kernel: KernelApi, config: Config, prefix: Prefix, target: str) -> Why:
    from cuberouted.daemon.why.kernel import explain_without_daemon

    found = await explain_without_daemon(kernel, config, prefix)
    return Why(target, None, False, found.verdict, found.advice, addresses=[found])
