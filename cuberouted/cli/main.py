"""The commands."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn, TypeVarTuple

import click
import msgspec
import trio

from cuberouted import __version__
from cuberouted.api import report, server
from cuberouted.config import Config, ConfigError, load

Arguments = TypeVarTuple("Arguments")

DEFAULT_CONFIG = Path("/etc/cuberouted.conf")
DEFAULT_KEY = Path("/etc/credstore/cuberouted-key")

NOT_WELL, WRONG_USAGE, NOT_RUNNING = 1, 2, 3
"""Exit statuses; 0 is fine."""


class Commands(click.Group):
    """The first word is a command, or the configuration file to run the daemon with."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A word that is no command but looks like a file is one."""
        if args[0] not in self.commands and ("/" in args[0] or Path(args[0]).is_file()):
            return "run", self.commands["run"], args
        return super().resolve_command(ctx, args)


class Where(msgspec.Struct, frozen=True):
    """Where the daemon's configuration, or else its control socket, is."""

    config: Path
    socket: Path | None

    def control_socket(self) -> Path:
        """The control socket to ask."""
        return self.socket or load_config(self.config).control_socket


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 fine; 1 what was asked about is not well, or could not be done;"
    " 2 wrong usage or bad configuration; 3 the daemon is not running."
    " -c and --socket come before the command.",
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The configuration that the commands use.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The daemon's control socket, if not the configuration's.",
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, config: Path, socket: Path | None) -> None:
    """Share routes between OpenVPN servers that share one client subnet.

    \b
    cuberouted /etc/cuberouted.conf     the daemon, in the foreground
    cuberouted check                    would it work on this host?
    cuberouted status                   this node, its OpenVPN, its peers
    """  # noqa: D301 - \b is click's own mark
    ctx.obj = Where(config, socket)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@main.command(hidden=True)
@click.argument("file", type=click.Path(path_type=Path))
def run(file: Path) -> None:
    """Run the daemon, in the foreground."""
    from cuberouted.config.keypair import with_secret_key
    from cuberouted.daemon.process import run_daemon

    config = load_config(file)
    try:
        config = with_secret_key(config)
    except ConfigError as error:
        fail(str(error), WRONG_USAGE)
    sys.exit(run_daemon(config))


@main.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.pass_obj
def check(where: Where, file: Path | None) -> None:
    """Is this configuration right, and would it work on this host?

    Reads and looks only: nothing is changed, and OpenVPN's management interface is not
    connected to, because it serves one client at a time.
    """
    from cuberouted.check.probe import probe_host
    from cuberouted.check.rules import run_checks
    from cuberouted.cli import render

    config = load_config(file or where.config)
    findings = run_checks(config, run_in_kernel(probe_host, config))
    render.render_findings(findings, render.console())
    sys.exit(NOT_WELL if render.has_problem(findings) else 0)


json_option = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")


@main.command()
@json_option
@click.pass_obj
def status(where: Where, as_json: bool) -> None:
    """This node, its OpenVPN, its peers.

    Exits with 1 when OpenVPN or a peer is not there.
    """
    answer = query_daemon(where, "status", report.Status)
    output(answer, as_json)
    sys.exit(0 if answer.well else NOT_WELL)


@main.command()
@json_option
@click.pass_obj
def clients(where: Where, as_json: bool) -> None:
    """Every client known in the mesh: where it is, since when."""
    output(query_daemon(where, "clients", report.Clients), as_json)


@main.command("dump-routes", short_help="The host routes that cuberouted has installed.")
@json_option
@click.pass_obj
def dump_routes(where: Where, as_json: bool) -> None:
    """The host routes that cuberouted has installed, read from the kernel."""
    from cuberouted.cli.offline import read_routes

    config = load_config(where.config)
    try:
        owners = server.ask(where.control_socket(), "owners", report.RouteInfos)
    except server.ControlError as error:
        click.echo(f"{error}; node, kind, name and age are left empty", err=True)
        owners = None
    output(run_in_kernel(read_routes, config, owners), as_json)


@main.command(short_help="Remove all that cuberouted installed (daemon stopped).")
@click.pass_obj
def flush(where: Where) -> None:
    """Remove every route, nexthop and rule that cuberouted owns (daemon stopped)."""
    from cuberouted.cli.offline import flush_routes
    from cuberouted.routing.linux.kernel import missing_capability

    config = load_config(where.config)
    missing = missing_capability()
    if missing:
        fail(f"{missing} is missing: run as root", NOT_WELL)
    try:
        running = server.is_served(where.control_socket())
    except server.ControlError as error:
        fail(str(error), NOT_WELL)
    if running:
        fail(f"{where.control_socket()}: cuberouted is running; stop it first", NOT_WELL)
    removed = run_in_kernel(flush_routes, config)
    click.echo(f"{report.pluralize(removed, 'route')} removed")


@main.command(short_help="Make a key pair.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_KEY,
    show_default=True,
    help="Where the secret key goes; an existing file is not overwritten.",
)
def keygen(out: Path) -> None:
    """Make a key pair: the secret key goes into a file, the public one is printed.

    The public key goes into the configuration of every peer, as public_key.
    """
    from cuberouted.config import keypair

    public, secret = keypair.generate()
    try:
        keypair.write_secret(out, secret)
    except keypair.KeyFileError as error:
        fail(str(error), NOT_WELL)
    click.echo(f"{out}: our secret key; our public key, for the peers:", err=True)
    click.echo(public.decode())


def load_config(path: Path) -> Config:
    """The configuration in *path*; if it is not right, its mistakes are told and we end."""
    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), WRONG_USAGE)


def query_daemon(where: Where, question: str, kind: type[server.T]) -> server.T:
    """What the daemon answers; without one we end."""
    try:
        return server.ask(where.control_socket(), question, kind)
    except server.NotRunningError as error:
        fail(str(error), NOT_RUNNING)
    except server.ControlError as error:
        fail(str(error), NOT_WELL)


def run_in_kernel(
    function: Callable[[*Arguments], Awaitable[server.T]], *args: *Arguments
) -> server.T:
    """What *function* finds in the kernel, or does there; where it cannot, we end."""
    from cuberouted.routing.kernel_api import KernelError

    try:
        return trio.run(function, *args)
    except KernelError as error:
        fail(f"kernel: {error}", NOT_WELL)


def output(answer: report.Report, as_json: bool) -> None:
    """Print *answer*, for people or for programs."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
        return
    from cuberouted.cli import render

    render.render(answer, render.console())


def fail(why: str, status: int) -> NoReturn:
    """Say why, on standard error, and end with *status*."""
    click.echo(why, err=True)
    sys.exit(status)
