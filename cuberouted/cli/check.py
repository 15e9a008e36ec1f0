"""`cuberouted check`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
import click
from click.shell_completion import CompletionItem

from cuberouted.check.catalogue import CHECKS
from cuberouted.cli.context import (
    FILE,
    PROBLEM,
    Location,
    json_option,
    load_config,
    location_options,
    print_json,
    query_daemon,
    run_in_kernel,
)

if TYPE_CHECKING:
    from cuberouted.check.finding import Finding

T = TypeVar("T", bound=Callable[..., object])

PEERS_TIMEOUT = 60.0
"""Seconds for the reply on all peers: one that does not answer is asked again for 16."""


def _known(
    _context: click.Context, _option: click.Parameter, ids: tuple[str, ...]
) -> tuple[str, ...]:
    for given in ids:
        if given not in CHECKS:
            near = difflib.get_close_matches(given, CHECKS, n=1, cutoff=0.0)[0]
            raise click.BadParameter(f"no check has the id {given!r}; the nearest is {near}")
    return ids


def _matching(
    _context: click.Context, _option: click.Parameter, incomplete: str
) -> list[str | CompletionItem]:
    return [check for check in CHECKS if check.startswith(incomplete)]


def _id_option(name: str, text: str) -> Callable[[T], T]:
    return click.option(
        name,
        metavar="ID",
        multiple=True,
        callback=_known,
        shell_complete=_matching,
        help=text,
    )


def _check_peers(location: Location) -> list[Finding]:
    """The findings on the peers. Without a daemon, print that it is needed, and exit."""
    from cuberouted.api.report_peers import PeersReport
    from cuberouted.check.peers import check_peers
    from cuberouted.check.pings import PingError, ping_peers

    found = query_daemon(location, "/v1/peers/check", PeersReport, timeout=PEERS_TIMEOUT)
    try:
        return check_peers(found, ping_peers(found.peers))
    except PingError as error:
        return check_peers(found, {}, str(error))


@click.command(short_help="Check the configuration and this host.")
@location_options
@click.argument("file", type=FILE, required=False)
@click.option("--syntax", is_flag=True, help="Check the file only, and not this host.")
@click.option("--peers", is_flag=True, help="Ask the peers as well, by the running daemon.")
@click.option("-v", "--verbose", is_flag=True, help="Show what is right as well.")
@_id_option("--only", "Only this check.")
@_id_option("--skip", "Not this check.")
@click.option("--strict", is_flag=True, help="Exit with 1 for a warning, too.")
@json_option
@click.pass_obj
def check(
    location: Location,
    file: Path | None,
    syntax: bool,
    peers: bool,
    verbose: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> None:
    """Check the configuration, and whether it would work on this host.

    Shows what is not right, and the answer in the last line; docs/checks.md explains each check.
    Changes nothing, and does not connect to OpenVPN's management interface, which serves one
    client at a time. --only and --skip may be repeated. With --peers the running daemon also asks
    every peer, for up to 16 seconds, and pings are sent through the tunnels.

    Exits with 1 if there is a problem; with --strict also if there is a warning.
    """
    config = load_config(file or location.config)
    if syntax:
        return
    from cuberouted.check.finding import Level
    from cuberouted.check.probe import probe_host
    from cuberouted.check.rules import run_checks
    from cuberouted.check.verdict import report, select, worst

    of_peers = _check_peers(attrs.evolve(location, config=config.path)) if peers else []
    facts = run_in_kernel(config, probe_host, config)
    findings = select(run_checks(config, facts, of_peers), only, skip)
    made = report(findings, complete=not (only or skip))
    if as_json:
        print_json(made)
    else:
        from cuberouted.cli.render_check import console, render_check

        render_check(made, verbose, console())
    failing = Level.WARNING if strict else Level.PROBLEM
    sys.exit(PROBLEM if worst(findings).severity >= failing.severity else 0)
