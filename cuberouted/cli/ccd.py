"""`cuberouted ccd`."""

from __future__ import annotations

import sys
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from cuberouted.ccd.subnets import Subnets, Topology
from cuberouted.cli.context import (
    FILE,
    PROBLEM,
    WRONG_USAGE,
    Location,
    fail,
    json_option,
    load_config,
    location_options,
    print_json,
    run_in_kernel,
)

if TYPE_CHECKING:
    from cuberouted.ccd.clients import Clients
    from cuberouted.ccd.directory import Directory
    from cuberouted.ccd.hosts import Network, Note
    from cuberouted.ccd.plan import Plan

MAX_HOSTS_FILE = 16 * 1024 * 1024
"""Bytes. 100,000 clients have 5 MB."""


def _networks(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise click.BadParameter(f"{error} (example: 10.100.100.0/24)") from None


@attrs.frozen
class _Order:
    """What the command line says."""

    hosts_file: Path
    directory: Path
    networks: tuple[Network, ...]
    topology: Topology | None
    short: bool
    strict: bool


@click.command(short_help="Make client-config-dir from a hosts file.")
@location_options
@click.argument("hosts_file", metavar="HOSTSFILE", type=FILE)
@click.argument("directory", metavar="DIR", type=FILE)
@click.option("-n", "--dry-run", is_flag=True, help="Write nothing, and show a diff.")
@click.option(
    "--network",
    "networks",
    metavar="PREFIX",
    multiple=True,
    callback=_networks,
    help="The clients' subnet, if not that of OpenVPN's configuration. May be repeated.",
)
@click.option(
    "--topology",
    type=click.Choice([topology.value for topology in Topology]),
    help="OpenVPN's topology, if not that of its configuration.",
)
@click.option("--short", is_flag=True, help="Names count up to their first dot.")
@click.option("--strict", is_flag=True, help="Warnings and hosts elsewhere are mistakes, too.")
@click.option("-v", "--verbose", is_flag=True, help="Show the hosts that are no clients as well.")
@json_option
@click.pass_obj
def ccd(
    location: Location,
    hosts_file: Path,
    directory: Path,
    dry_run: bool,
    networks: tuple[Network, ...],
    topology: str | None,
    short: bool,
    strict: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Give clients the addresses of a hosts file: make the files of OpenVPN's client-config-dir.

    Each host of HOSTSFILE whose address lies in the clients' subnet gets the file DIR/NAME with
    ifconfig-push, where NAME, the first name in its line, is the client's common name. What stands
    below the marker in such a file is kept; files without the marker are left alone. If anything is
    wrong, all mistakes are shown, and nothing is written.

    Exit status: 0 all is as the hosts file says; 1 --dry-run: it is not, or writing failed; 2 wrong
    usage, or mistakes.
    """
    from cuberouted.ccd.directory import DirectoryError, open_directory
    from cuberouted.ccd.report import make_report

    order = _Order(
        hosts_file, directory, networks, Topology(topology) if topology else None, short, strict
    )
    content = _read_hosts(hosts_file)
    subnets, warnings = _subnets(location, order)
    try:
        with open_directory(directory) as files:
            if not dry_run:
                _lock(files)
            clients, plan = _plan(order, content, subnets, warnings, files)
            written = not dry_run and not plan.mistakes
            if written:
                _write(files, plan, directory)
    except DirectoryError as error:
        fail(str(error), WRONG_USAGE)
    report = make_report(plan, clients, subnets, directory, written=written)
    if as_json:
        print_json(report)
    else:
        from cuberouted.cli.render_ccd import output_ccd

        output_ccd(report, verbose)
    if plan.mistakes:
        sys.exit(WRONG_USAGE)
    sys.exit(PROBLEM if plan.changes and not written else 0)


def _read_hosts(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_HOSTS_FILE + 1)
    except OSError as error:
        fail(f"{path}: {error.strerror}", WRONG_USAGE)
    if len(content) > MAX_HOSTS_FILE:
        fail(f"{path}: more than {MAX_HOSTS_FILE} bytes: this is no hosts file", WRONG_USAGE)
    return content


def _subnets(location: Location, order: _Order) -> tuple[Subnets, tuple[Note, ...]]:
    from cuberouted.ccd.hosts import Note
    from cuberouted.ccd.probe import SubnetError, find_subnets, read_data_addresses

    if order.networks and not location.config.exists():  # on a machine that is no server
        warning = Note(location.config, None, "is missing: the servers' addresses are not known")
        return Subnets(order.networks, order.topology or Topology.SUBNET), (warning,)
    config = load_config(location.config)
    interfaces = run_in_kernel(config, read_data_addresses, config)
    try:
        return find_subnets(config, order.directory, interfaces, order.networks, order.topology)
    except SubnetError as error:
        fail(str(error), WRONG_USAGE)


def _plan(
    order: _Order,
    content: bytes,
    subnets: Subnets,
    warnings: tuple[Note, ...],
    files: Directory,
) -> tuple[Clients, Plan]:
    from cuberouted.ccd.clients import select_clients
    from cuberouted.ccd.hosts import parse_hosts
    from cuberouted.ccd.plan import make_plan, stricter

    hosts = parse_hosts(content, order.hosts_file)
    clients = select_clients(hosts, order.hosts_file, subnets, short=order.short)
    plan = make_plan(clients, files.read(), order.directory, order.hosts_file)
    plan = attrs.evolve(plan, warnings=warnings + plan.warnings)
    return clients, stricter(plan, clients) if order.strict else plan


def _lock(files: Directory) -> None:
    from cuberouted.ccd.directory import DirectoryError

    try:
        files.lock()
    except DirectoryError as error:
        fail(str(error), PROBLEM)


def _write(files: Directory, plan: Plan, directory: Path) -> None:
    """Make all changes. If one fails, print which, and exit."""
    from cuberouted.ccd.directory import DirectoryError

    number = 0
    try:
        for change in plan.changes:
            files.apply(change)
            number += 1
        if plan.changes:
            files.sync()
    except (DirectoryError, OSError) as error:
        name = directory / plan.changes[min(number, len(plan.changes) - 1)].name
        why = f"{name}: {error.strerror}" if isinstance(error, OSError) else str(error)
        done = f"{number} of {len(plan.changes)} files were written; run it again"
        fail(f"{why}; {done}", PROBLEM)
