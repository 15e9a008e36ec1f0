"""The arguments and options that select rows of a listing, and its output."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cuberouted.api.selection import Selection, SelectionError
from cuberouted.cli.context import PROBLEM, fail, output

if TYPE_CHECKING:
    from cuberouted.api.report import Report

Command = Callable[..., Any]


def selection_options(command: Command) -> Command:
    """Add ``[ADDRESS|NETWORK|NAME]`` and three options; *command* gets a ``selection``."""
    command = _made(command)
    for option in (
        click.option("--prefix", metavar="PREFIX", help="Only this address, or in this network."),
        click.option("--name", metavar="NAME", help="Only clients of this name."),
        click.option("--node", metavar="NODE", help="Only what is at this node."),
        click.argument("target", metavar="[ADDRESS|NETWORK|NAME]", required=False),
    ):
        command = option(command)
    return command


def select_node(command: Command) -> Command:
    """Add ``[NODE]``; *command* gets a ``selection``."""
    return click.argument("node", required=False)(_made(command))


def _made(command: Command) -> Command:
    """*command*, with a selection made of the arguments, or wrong usage if it cannot be."""

    @functools.wraps(command)
    def select(
        *args: Any,
        node: str | None = None,
        name: str | None = None,
        prefix: str | None = None,
        target: str | None = None,
        **options: Any,
    ) -> Any:
        try:
            selection = Selection.of(node, name, prefix, target)
        except SelectionError as error:
            raise click.UsageError(str(error)) from None
        return command(*args, selection=selection, **options)

    return select


def output_rows(
    report: Report, rows: Sequence[object], noun: str, selection: Selection, **how: bool
) -> None:
    """Print *report*, whose rows are these (`context.output`). Without one, print so instead.

    If *selection* is given and selects none, exit.
    """
    if not rows and selection:
        if how["as_json"]:
            output(report, **how)
        fail(f"no {noun} matches {selection}", PROBLEM)
    if rows or how["as_json"]:
        output(report, **how)
    else:
        click.echo(f"there is no {noun}", err=True)
