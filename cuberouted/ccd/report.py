"""From the plan to the report, which has a JSON form, its verdict, and the diff. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from cuberouted.api.report import pluralize
from cuberouted.ccd.clients import Clients
from cuberouted.ccd.hosts import Note
from cuberouted.ccd.plan import Action, Change, Plan
from cuberouted.ccd.subnets import Subnets
from cuberouted.model import printable_name

VERSION = 1
"""Of the JSON form."""

NO_FILE = Path("/dev/null")
"""What a diff names where there is no file."""


class CcdNote(msgspec.Struct):
    """A sentence about a place in a file."""

    file: str
    line: int | None
    text: str


class CcdChange(msgspec.Struct):
    """A file of a client that is made, changed or removed."""

    name: str
    action: Action
    options: list[str]
    diff: str


class CcdReport(msgspec.Struct):
    """`cuberouted ccd --json`."""

    version: int
    verdict: str
    written: bool
    networks: list[str]
    clients: int
    changes: list[CcdChange]
    unchanged: int
    servers: list[CcdNote]
    outside: list[CcdNote]
    warnings: list[CcdNote]
    mistakes: list[CcdNote]


def make_report(
    plan: Plan, clients: Clients, subnets: Subnets, directory: Path, *, written: bool
) -> CcdReport:
    """The report on *plan*. *written*: its changes are made."""
    return CcdReport(
        version=VERSION,
        verdict=_verdict(plan, clients, subnets, written),
        written=written,
        networks=[str(network) for network in subnets.networks],
        clients=len(clients.by_name),
        changes=[
            CcdChange(
                change.name, change.action, list(change.made), "".join(_diff(change, directory))
            )
            for change in (() if plan.mistakes else plan.changes)
        ],
        unchanged=plan.unchanged,
        servers=_notes(clients.servers.values()),
        outside=_notes(clients.outside.values()),
        warnings=_notes(plan.warnings),
        mistakes=_notes(plan.mistakes),
    )


def _notes(notes: Iterable[Note]) -> list[CcdNote]:
    return [CcdNote(str(note.file), note.line, note.text) for note in notes]


def _verdict(plan: Plan, clients: Clients, subnets: Subnets, written: bool) -> str:
    if plan.mistakes:
        return f"{pluralize(len(plan.mistakes), 'mistake')}: nothing was written"
    inside = [pluralize(len(clients.by_name), "client")]
    if clients.servers:
        inside.append(pluralize(len(clients.servers), "server"))
    said = [f"{' and '.join(inside)} in {subnets}"]
    if clients.outside:
        said.append(f"{pluralize(len(clients.outside), 'host')} outside")
    actions = [change.action for change in plan.changes]
    counted = [
        f"{pluralize(number, 'file')} {_DONE[action] if written else f'to {action}'}"
        for action in Action
        if (number := actions.count(action))
    ]
    counted.append(f"{plan.unchanged} unchanged")
    if plan.warnings:
        counted.append(pluralize(len(plan.warnings), "warning"))
    return f"{', '.join(said)}: {', '.join(counted)}"


_DONE = {Action.CREATE: "created", Action.CHANGE: "changed", Action.REMOVE: "removed"}


def _diff(change: Change, directory: Path) -> Iterator[str]:
    """A unified diff. What is not printable is escaped."""
    path = directory / change.name
    old, new = (
        str(NO_FILE if content is None else path) for content in (change.before, change.after)
    )
    for line in difflib.unified_diff(_lines(change.before), _lines(change.after), old, new):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(content: bytes | None) -> Sequence[str]:
    """The lines, each with its end if it has one."""
    lines = (content or b"").split(b"\n")
    shown = ["\t".join(map(printable_name, line.split(b"\t"))) for line in lines]
    return [f"{line}\n" for line in shown[:-1]] + ([shown[-1]] if shown[-1] else [])
