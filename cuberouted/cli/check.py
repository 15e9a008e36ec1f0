"""`cuberouted check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cuberouted.cli.context import (
    FILE,
    PROBLEM,
    Location,
    load_config,
    location_options,
    run_in_kernel,
)


@click.command()
@location_options
@click.argument("file", type=FILE, required=False)
@click.option("--syntax", is_flag=True, help="Check the file only, and not this host.")
@click.pass_obj
def check(location: Location, file: Path | None, syntax: bool) -> None:
    """Check the configuration, and whether it would work on this host.

    Changes nothing, and does not connect to OpenVPN's management interface, which serves one
    client at a time.
    """
    config = load_config(file or location.config)
    if syntax:
        return
    from cuberouted.check.probe import probe_host
    from cuberouted.check.rules import run_checks
    from cuberouted.cli import render

    findings = run_checks(config, run_in_kernel(config, probe_host, config))
    render.render_findings(findings, render.console())
    sys.exit(PROBLEM if render.has_problem(findings) else 0)
