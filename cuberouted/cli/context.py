"""What the commands share: options, the configuration, the daemon, exit statuses."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple

import attrs
import click
import msgspec

from cuberouted.api import client
from cuberouted.api.protocol import TIMEOUT, ControlError, NotRunningError
from cuberouted.config import DEFAULT_CONTROL_SOCKET, Config, ConfigError, load
from cuberouted.util.tasks import run_trio

if TYPE_CHECKING:
    from cuberouted.api.report import Report
    from cuberouted.routing.linux.kernel import Kernel

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

DEFAULT_CONFIG = Path("/etc/cuberouted.conf")

FILE = click.Path(path_type=Path, readable=False)
"""The type of a path. click does not examine the file: whoever opens it tells what is wrong."""

PROBLEM, WRONG_USAGE, NOT_RUNNING = 1, 2, 3
"""Exit statuses; 0 is fine."""


@attrs.frozen
class Location:
    """Where the configuration is, and the control socket if it is not the configuration's."""

    config: Path = DEFAULT_CONFIG
    socket: Path | None = None


def location_options(command: Callable[..., T]) -> Callable[..., T]:
    """Add ``-c`` and ``--socket``, before and behind the command's name; the later one counts."""

    def override(context: click.Context, option: click.Parameter, value: Path | None) -> None:
        location = context.find_object(Location) or Location()
        if value is not None and option.name is not None:
            location = attrs.evolve(location, **{option.name: value})
        context.obj = location

    for names, text in (
        (("--socket",), "The daemon's control socket, if not the configuration's."),
        (("-c", "--config"), f"The configuration file.  [default: {DEFAULT_CONFIG}]"),
    ):
        option = click.option(
            *names,
            type=FILE,
            expose_value=False,
            callback=override,
            help=text,
        )
        command = option(command)
    return command


def load_config(path: Path) -> Config:
    """The configuration in *path*. If it is wrong, print the errors and exit."""
    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), WRONG_USAGE)


@contextmanager
def daemon_socket(location: Location) -> Iterator[Path]:
    """The daemon's control socket. If it cannot be used, print why and exit.

    A daemon that runs well does not depend on the file any more: if the file has mistakes, they
    are printed, and the default control socket is asked.
    """
    not_running = NOT_RUNNING
    try:
        socket = location.socket or load(location.config).control_socket
    except ConfigError as error:
        socket, not_running = DEFAULT_CONTROL_SOCKET, WRONG_USAGE
        click.echo(f"{error}\nasking the daemon on the default control socket {socket}", err=True)
    try:
        yield socket
    except NotRunningError as error:
        fail(str(error), not_running)
    except ControlError as error:
        fail(str(error), PROBLEM)


def query_daemon(
    location: Location,
    target: str,
    kind: type[T],
    *,
    body: msgspec.Struct | None = None,
    timeout: float = TIMEOUT,
    without: Callable[[NotRunningError], T] | None = None,
) -> T:
    """The daemon's reply to GET *target*, or to POST with a *body* (`client.get`, `client.post`).
    Without one, print why and exit.

    If no daemon runs, and the configuration is right, *without* replies in its place.
    """
    with daemon_socket(location) as socket:
        try:
            if body is not None:
                return client.post(socket, target, body, kind, timeout)
            return client.get(socket, target, kind, timeout)
        except NotRunningError as error:
            if without is None or not (location.socket or _is_valid(location.config)):
                raise
            return without(error)


def _is_valid(path: Path) -> bool:
    try:
        load(path)
    except ConfigError:
        return False
    return True


def run_in_kernel(
    config: Config, function: Callable[[Kernel, *Arguments], Awaitable[T]], *args: *Arguments
) -> T:
    """The result of *function* on this host's kernel. If it fails, print why and exit."""
    from cuberouted.routing.kernel_api import KernelError
    from cuberouted.routing.linux.kernel import open_kernel

    async def run() -> T:
        async with open_kernel(
            config.route_table, config.route_metric, config.route_protocol
        ) as kernel:
            return await function(kernel, *args)

    try:
        return run_trio(run)
    except KernelError as error:
        fail(f"kernel: {error}", PROBLEM)


def output(report: Report, *, as_json: bool, paged: bool = False) -> None:
    """Print *report*, for people or as JSON; *paged*: a long one goes through a pager."""
    if as_json:
        print_json(report)
        return
    from cuberouted.cli.pager import print_lines
    from cuberouted.cli.render_lists import lines
    from cuberouted.cli.terminal import Terminal

    terminal = Terminal.of(sys.stdout)
    print_lines(lines(report, terminal, time.time()), terminal, paged=paged)


def print_json(report: msgspec.Struct) -> None:
    """Print *report* as one JSON object."""
    # bytes: JSON is UTF-8, whatever the terminal is (RFC 8259 section 8.1)
    click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))


def fail(why: str, status: int) -> NoReturn:
    """Print *why* on standard error, and exit with *status*."""
    click.echo(why, err=True)
    sys.exit(status)


pager_option: Callable[[Any], Any] = click.option(
    "--no-pager", is_flag=True, help="Do not show a long listing through a pager."
)

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)
