"""Renders the report of `check` for people."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from cuberouted.api.report import pluralize
from cuberouted.check.verdict import CheckReport, FindingRow

COLOURS = {"ok": "green", "could not look": "cyan", "warning": "yellow", "problem": "red"}

COLUMN = 16
"""Where the text of a finding begins, behind its level."""

PIPED_WIDTH = 500
"""Columns if the output is not a terminal: no line is cut or wrapped."""


def console() -> Console:
    """Standard output. NO_COLOR is respected."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=PIPED_WIDTH)


def render_check(report: CheckReport, verbose: bool, out: Console) -> None:
    """Print what is not right (*verbose*: all), how much is, and the verdict last."""
    shown = [row for row in report.findings if verbose or row.level != "ok"]
    for row in shown:
        _print_finding(row, out)
    if shown:
        out.print()
    passed = report.counts["ok"]
    out.print(f"{pluralize(passed, 'check')} passed")
    out.print(Text(report.verdict, style=COLOURS[report.level]), soft_wrap=True)


def _print_finding(row: FindingRow, out: Console) -> None:
    level = Text(row.level.ljust(COLUMN), style=COLOURS[row.level])
    first, *rest = _wrapped(f"{row.subject}: {row.text}", out)
    out.print(level + Text(first), soft_wrap=True)
    if row.level != "ok":
        rest += _wrapped(row.why, out)
        rest += _wrapped(row.advice, out) if row.advice else []
        # a line of its own that is never broken, so that it can be copied
        rest += [f"    {row.command}"] if row.command else []
        rest += [f"see {row.anchor}"]
    for line in rest:
        out.print(Text(" " * COLUMN + line), soft_wrap=True)


def _wrapped(text: str, out: Console) -> list[str]:
    """*text* in lines that fit a terminal; a pipe gets one."""
    width = max(out.width - COLUMN, 20)
    if not out.is_terminal:
        return text.splitlines() or [""]
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]
