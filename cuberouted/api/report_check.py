"""What `cuberouted check` reports, as values with a JSON form (docs/checks.md). Pure."""

from __future__ import annotations

import msgspec


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
