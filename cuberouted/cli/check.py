"""`cuberouted check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cuberouted.cli.context import PROBLEM, Location, load_config, location_options, run_in_kernel


@click.command()
@location_options
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.pass_obj
def check(location: Location, file: Path | None) -> None:
    """Check the configuration, and whether it would work on this host.

    Changes nothing, and does not connect to OpenVPN's management interface, which serves one
    client at a time.
    """
    from cuberouted.check.probe import probe_host
    from cuberouted.check.rules import run_checks
    from cuberouted.cli import render

    config = load_config(file or location.config)
    findings = run_checks(config, run_in_kernel(config, probe_host, config))
    render.render_findings(findings, render.console())
    sys.exit(PROBLEM if render.has_problem(findings) else 0)
