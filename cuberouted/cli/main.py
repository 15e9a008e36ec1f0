"""The program: the daemon in the foreground, or one of the commands."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from pathlib import Path

import click

from cuberouted import __version__
from cuberouted.cli.ccd import ccd
from cuberouted.cli.check import check
from cuberouted.cli.completion.command import completion
from cuberouted.cli.context import FILE, PROBLEM, WRONG_USAGE, fail, load_config, location_options
from cuberouted.cli.disconnect import disconnect
from cuberouted.cli.drain import drain, resume
from cuberouted.cli.dump_routes import dump_routes
from cuberouted.cli.flush import flush
from cuberouted.cli.graceful_restart import graceful_restart
from cuberouted.cli.history import history
from cuberouted.cli.keygen import keygen
from cuberouted.cli.monitor import monitor
from cuberouted.cli.nodes import nodes
from cuberouted.cli.rebalance import rebalance
from cuberouted.cli.services import services
from cuberouted.cli.setup.command import setup
from cuberouted.cli.show import clients, status
from cuberouted.cli.watch.command import watch
from cuberouted.cli.why import why
from cuberouted.config import ConfigError

OUTPUT_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF}
)
"""Errors of write(2) on standard output; all other errors are handled where they occur."""


class Commands(click.Group):
    """The first argument is a command, or the configuration file to run the daemon with."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take an argument that is not a command but looks like a file for ``run FILE``."""
        if args[0] not in self.commands and ("/" in args[0] or Path(args[0]).is_file()):
            return "run", self.commands["run"], args
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 fine; 1 a problem was found, or the command failed;"
    " 2 wrong usage or configuration; 3 the daemon is not running."
    " -c and --socket may stand before or behind the command.",
)
@location_options
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Share routes between OpenVPN servers that share one client subnet.

    \b
    cuberouted /etc/cuberouted.conf     run the daemon in the foreground
    cuberouted check                    check the configuration and this host
    cuberouted status                   show this node, its OpenVPN, its peers
    """  # noqa: D301 - \b is click's own mark
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    if ctx.invoked_subcommand != "run":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # see `__main__`


@main.command(hidden=True)
@click.argument("file", type=FILE)
def run(file: Path) -> None:
    """Run the daemon in the foreground."""
    from cuberouted.config.keypair import with_secret_key
    from cuberouted.daemon.process import run_daemon

    config = load_config(file)
    try:
        config = with_secret_key(config)
    except ConfigError as error:
        fail(str(error), WRONG_USAGE)
    sys.exit(run_daemon(config))


def run_program() -> None:
    """Run the program `cuberouted`, and exit.

    Its output may go anywhere: a terminal that cannot show a name gets escapes, and an error of
    standard output is told in a sentence.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed; click 8.1.3 would write there all the same
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - as long as we run
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not if it is replaced by a test
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            main(prog_name="cuberouted")
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_ERRORS:
            raise
        # what is buffered must not be written again at exit (Python's "Note on SIGPIPE")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # `| head` has read enough
            sys.exit(PROBLEM)
        fail(f"standard output: {error.strerror}", PROBLEM)


for command in (
    check,
    status,
    nodes,
    services,
    clients,
    dump_routes,
    why,
    monitor,
    history,
    watch,
    disconnect,
    drain,
    resume,
    rebalance,
    graceful_restart,
    ccd,
    flush,
    keygen,
    completion,
    setup,
):
    main.add_command(command)
