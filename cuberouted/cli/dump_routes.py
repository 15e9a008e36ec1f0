"""`cuberouted dump-routes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from cuberouted.api import client, report
from cuberouted.api.protocol import ControlError, NotRunningError
from cuberouted.api.selection import Selection
from cuberouted.cli.context import (
    NOT_RUNNING,
    PROBLEM,
    Location,
    fail,
    json_option,
    load_config,
    location_options,
    pager_option,
    run_in_kernel,
)
from cuberouted.cli.select import output_rows, selection_options
from cuberouted.model import format_address

if TYPE_CHECKING:
    from cuberouted.routing.kernel_api import KernelApi
    from cuberouted.routing.types import KernelState, Link, Nexthop


@click.command("dump-routes", short_help="Show the host routes that cuberouted has installed.")
@location_options
@selection_options
@json_option
@pager_option
@click.pass_obj
def dump_routes(location: Location, selection: Selection, *, as_json: bool, no_pager: bool) -> None:
    """Show the host routes that cuberouted has installed, read from the kernel.

    ADDRESS|NETWORK|NAME: only this address, what lies in this network, or clients of this name. In
    names, * is any characters and ? is one.

    Exits with 1 if no route matches.
    """
    config = load_config(location.config)
    try:
        socket = location.socket or config.control_socket
        infos = client.get(socket, f"/v1/routes{selection.query}", report.RouteInfos)
    except ControlError as error:
        if selection.node or selection.name:
            status = NOT_RUNNING if isinstance(error, NotRunningError) else PROBLEM
            fail(f"{error}; only the daemon knows the nodes and names of routes", status)
        click.echo(f"{error}; node, kind, name and age are left empty", err=True)
        infos = None
    routes = run_in_kernel(config, _read_routes, infos, selection)
    output_rows(routes, routes.routes, "route", selection, as_json=as_json, paged=not no_pager)


async def _read_routes(
    kernel: KernelApi, infos: report.RouteInfos | None, selection: Selection
) -> report.Routes:
    return route_rows(await kernel.dump(), await kernel.links(), infos, selection)


def route_rows(
    state: KernelState,
    links: Iterable[Link],
    infos: report.RouteInfos | None,
    selection: Selection,
) -> report.Routes:
    """The selected routes in *state*, sorted by destination.

    *infos*: what the daemon knows of them. It alone knows which nodes and names are selected.
    """
    names = {link.index: link.name for link in links}
    known = infos.routes if infos else {}
    any_name = not (selection.node or selection.name)
    rows = [
        _route_row(
            str(route.prefix),
            state.nexthops.get(route.nexthop),
            names,
            known.get(str(route.prefix)),
        )
        for route in sorted(state.routes.values())
        if selection.contains(route.prefix) and (any_name or str(route.prefix) in known)
    ]
    return report.Routes(infos.node if infos else None, rows)


def _route_row(
    destination: str,
    nexthop: Nexthop | None,
    names: Mapping[int, str],
    info: report.RouteInfo | None,
) -> report.RouteRow:
    gateway = nexthop.gateway if nexthop else None
    return report.RouteRow(
        destination=destination,
        node=info.node if info else None,
        interface=names.get(nexthop.device) if nexthop else None,
        gateway=format_address(gateway) if gateway else None,
        kind=info.kind if info else None,
        name=info.name if info else None,
        age=round(info.age, 1) if info else None,
    )
