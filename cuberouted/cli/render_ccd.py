"""Shows the report of `ccd` to people."""

from __future__ import annotations

import sys

import click

from cuberouted.ccd.plan import Action
from cuberouted.ccd.report import CcdNote, CcdReport
from cuberouted.cli.terminal import Terminal

_COLOURS = {"+": "green", "-": "red", "@": "dim"}
_ACTIONS = {Action.CREATE: "created", Action.CHANGE: "changed", Action.REMOVE: "removed"}


def output_ccd(report: CcdReport, verbose: bool) -> None:
    """Print mistakes and warnings on standard error, then the changes, and the verdict last.

    Before they are written, changes are shown as a diff. *verbose*: hosts that are no clients, too.
    """
    for note in report.mistakes:
        click.echo(_format(note), err=True)
    for note in report.warnings:
        click.echo(f"warning: {_format(note)}", err=True)
    if verbose:
        for note in (*report.servers, *report.outside):
            click.echo(f"no file: {_format(note)}", err=True)
    for line in _lines(report, Terminal.of(sys.stdout)):
        click.echo(line)
    click.echo(report.verdict, err=bool(report.mistakes))


def _lines(report: CcdReport, terminal: Terminal) -> list[str]:
    if report.written:
        return [
            "; ".join((f"{change.name} {_ACTIONS[change.action]}", *change.options))
            for change in report.changes
        ]
    return [
        terminal.paint(terminal.show(line), _COLOURS.get(line[:1], ""))
        for change in report.changes
        for line in change.diff.splitlines()
    ]


def _format(note: CcdNote) -> str:
    return (
        f"{note.file}: {note.text}"
        if note.line is None
        else f"{note.file}:{note.line}: {note.text}"
    )
