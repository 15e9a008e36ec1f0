"""`cuberouted status`, `clients` and `dump-routes`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from cuberouted.api import client, report
from cuberouted.api.protocol import ControlError
from cuberouted.cli.context import (
    PROBLEM,
    Location,
    json_option,
    load_config,
    location_options,
    output,
    pager_option,
    query_daemon,
    run_in_kernel,
)
from cuberouted.model import format_address

if TYPE_CHECKING:
    from cuberouted.routing.kernel_api import KernelApi
    from cuberouted.routing.types import KernelState, Link, Nexthop


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
@json_option
@pager_option
@click.pass_obj
def clients(location: Location, *, as_json: bool, no_pager: bool) -> None:
    """Show every client in the mesh: where it is, since when."""
    reply = query_daemon(location, "/v1/clients", report.Clients)
    output(reply, as_json=as_json, paged=not no_pager)


@click.command("dump-routes", short_help="Show the host routes that cuberouted has installed.")
@location_options
@json_option
@pager_option
@click.pass_obj
def dump_routes(location: Location, *, as_json: bool, no_pager: bool) -> None:
    """Show the host routes that cuberouted has installed, read from the kernel."""
    config = load_config(location.config)
    try:
        socket = location.socket or config.control_socket
        infos = client.get(socket, "/v1/routes", report.RouteInfos)
    except ControlError as error:
        click.echo(f"{error}; node, kind, name and age are left empty", err=True)
        infos = None
    routes = run_in_kernel(config, _read_routes, infos)
    output(routes, as_json=as_json, paged=not no_pager)


async def _read_routes(kernel: KernelApi, infos: report.RouteInfos | None) -> report.Routes:
    return route_rows(await kernel.dump(), await kernel.links(), infos)


def route_rows(
    state: KernelState, links: Iterable[Link], infos: report.RouteInfos | None
) -> report.Routes:
    """The routes in *state*, sorted by destination. *infos*: what the daemon knows of them."""
    names = {link.index: link.name for link in links}
    known = infos.routes if infos else {}
    rows = [
        _route_row(
            str(route.prefix),
            state.nexthops.get(route.nexthop),
            names,
            known.get(str(route.prefix)),
        )
        for route in sorted(state.routes.values())
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
