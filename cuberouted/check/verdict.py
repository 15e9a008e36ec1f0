"""From findings to the report, which has a JSON form (docs/checks.md), and its verdict. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from cuberouted.api.report import pluralize
from cuberouted.check.finding import Finding, Level

VERSION = 1
"""Of the JSON form."""

MAX_NAMED = 5
"""Subjects that a verdict names."""


class FindingRow(msgspec.Struct):
    """One finding.

    ``level``: ``ok``, ``could not look``, ``warning`` or ``problem``. ``id``: which check, with
    ``title``. ``subject`` and ``text``: of what, and what is. ``why``: why it matters.
    ``advice``: what to do, in words. ``command``: a line for a shell that mends it. Both are empty
    where there is none. ``anchor``: where it is explained.
    """

    level: str
    id: str
    title: str
    subject: str
    text: str
    why: str
    advice: str
    command: str
    anchor: str


class CheckReport(msgspec.Struct):
    """`cuberouted check --json`.

    ``version``: of this form. ``level``: the worst of all findings. ``verdict``: a sentence.
    ``counts``: findings by level.
    """

    version: int
    level: str
    verdict: str
    counts: dict[str, int]
    findings: list[FindingRow]


def select(
    findings: Sequence[Finding], only: Collection[str], skip: Collection[str]
) -> list[Finding]:
    """The findings with the ids in *only* (empty: all) that are not in *skip*."""
    return [f for f in findings if (not only or f.id in only) and f.id not in skip]


def report(findings: Sequence[Finding], complete: bool) -> CheckReport:
    """The report on these findings. *complete*: no check was left out."""
    levels = [finding.level for finding in findings]
    return CheckReport(
        version=VERSION,
        level=worst(findings).value,
        verdict=verdict(findings, complete),
        counts={level.value: levels.count(level) for level in Level},
        findings=[_row(finding) for finding in findings],
    )


def worst(findings: Sequence[Finding]) -> Level:
    """The level of the worst finding."""
    return max((f.level for f in findings), key=lambda x: x.severity, default=Level.OK)


def verdict(findings: Sequence[Finding], complete: bool) -> str:
    """Whether cuberouted would work on this host, in a sentence."""
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    if problems:
        answer = f"{pluralize(len(problems), 'problem')}: {_subjects(problems)}"
    elif not complete:
        answer = "no problem in the checks that were made"
    else:
        waiting = [f for f in findings if f.level is Level.WARNING and f.check.waits]
        answer = (
            f"cuberouted would start on this host, and wait: {_subjects(waiting)}"
            if waiting
            else "cuberouted would work on this host"
        )
    return "; ".join((answer, *_counted(findings)))


def _subjects(findings: Sequence[Finding]) -> str:
    names = list(dict.fromkeys(finding.subject for finding in findings))
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")


def _counted(findings: Sequence[Finding]) -> list[str]:
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    unseen = sum(finding.level is Level.UNSEEN for finding in findings)
    said = [pluralize(warnings, "warning")] if warnings else []
    return [*said, f"{unseen} not looked at"] if unseen else said


def _row(finding: Finding) -> FindingRow:
    check = finding.check
    return FindingRow(
        level=finding.level.value,
        id=finding.id,
        title=check.title,
        subject=finding.subject,
        text=finding.text,
        why=check.why,
        advice=finding.advice,
        command=finding.command,
        anchor=check.anchor,
    )
