"""What became of the clients of a node that is drained, for people. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from cuberouted.api.report import pluralize
from cuberouted.api.report_drain import DrainClientRow, DrainReport
from cuberouted.maintenance.record import DEFAULT_INTERVAL
from cuberouted.model import in_words

MAX_NAMES = 20
"""Clients of one outcome that are named; `--json` has all."""

ONE_REMOTE = "only this server in its configuration?"


def is_well(report: DrainReport) -> bool:
    """Whether all clients and services have moved to other nodes."""
    return report.outcomes.get("moved", 0) == report.total and not report.services


def is_over(report: DrainReport) -> bool:
    """Whether no client and no service is waited for any more."""
    return report.finished and not _handed_over(report)


def begun(report: DrainReport) -> list[str]:
    """What the order does, and what it does not do."""
    waiting = report.outcomes.get("waiting", report.total)
    lines = [f"note: {problem}" for problem in report.problems]
    if report.state == "maintenance":
        lines.append(f"{report.node} is in maintenance{_ends(report)}: clients are sent on")
    elif waiting:
        default = report.interval == DEFAULT_INTERVAL
        how = "five a second" if default else f"within {round(waiting * report.interval)} s"
        lines.append(
            f"{report.node} is draining{_ends(report)}:"
            f" {pluralize(waiting, 'client')} to be sent on, {how}"
        )
    else:
        lines.append(f"{report.node} is draining{_ends(report)}")
    if services := _handed_over(report):
        lines.append(f"services that are handed over: {', '.join(services)}")
    return [*lines, *_kept(report)]


def planned(report: DrainReport, over: float | None) -> list[str]:
    """What an order would do (`--dry-run`)."""
    lines = [f"refused without --force: {why}" for why in report.refused]
    lines += [f"note: {problem}" for problem in report.problems]
    waiting = report.outcomes.get("waiting", 0)
    what = "would send no client on"
    if waiting:
        seconds = waiting * report.interval if over is None else over
        what = f"would send {pluralize(waiting, 'client')} on, in some {max(1, round(seconds))} s"
    services = _handed_over(report)
    also = f", and hand over: {', '.join(services)}" if services else ""
    return [*lines, f"{report.node} is {in_words(report.state)}; {what}{also}", *_kept(report)]


def progress(report: DrainReport) -> str:
    """How far it is, in one line."""
    outcomes = report.outcomes
    parts = [f"{outcomes.get('moved', 0)} of {pluralize(report.total, 'client')} moved"]
    for outcome, text in (
        ("waiting", "waiting"),
        ("sent", "on their way"),
        ("came_back", "came back"),
        ("left", "left"),
        ("kept", "kept"),
    ):
        if outcomes.get(outcome):
            parts.append(f"{outcomes[outcome]} {text}")
    if report.services:
        parts.append(f"services still here: {', '.join(report.services)}")
    return f"{report.node} {report.state}: {', '.join(parts)}"


def result(report: DrainReport) -> list[str]:
    """What became of whom, and what to do next."""
    lines = [_summary(report)]
    if services := _handed_over(report):
        lines.append(f"services that are still here: {', '.join(services)}")
    lines += _kept(report)
    lines += [f"note: {problem}" for problem in report.problems]
    return [*lines, *_next_steps(report)]


def resumed(report: DrainReport) -> list[str]:
    """After `resume`."""
    return [
        *(f"note: {problem}" for problem in report.problems),
        f"{report.node} is {report.state}",
    ]


def _summary(report: DrainReport) -> str:
    if not report.total:
        return f"{report.node} had no clients"
    nodes = sorted(report.moved.items(), key=lambda item: (-item[1], item[0]))
    moved = report.outcomes.get("moved", 0)
    where = f" to {', '.join(f'{name} ({number})' for name, number in nodes)}" if nodes else ""
    parts = [f"{moved} of {pluralize(report.total, 'client')} moved{where}"]
    for outcome, text in (
        ("came_back", "came back"),
        ("left", "left, and nowhere since"),
        ("kept", "kept"),
        ("sent", "on their way"),
        ("waiting", "waiting"),
    ):
        number = report.outcomes.get(outcome, 0)
        if number:
            rows = [row for row in report.clients if row.outcome == outcome]
            names = f": {', '.join(_names(rows, number))}" if rows else ""
            parts.append(f"{number} {text}{names}")
    return "; ".join(parts)


def _names(rows: Iterable[DrainClientRow], number: int) -> Iterator[str]:
    shown = list(rows)[:MAX_NAMES]
    for row in shown:
        note = row.why or (ONE_REMOTE if row.returns > 1 else "")
        yield f"{row.name} ({note})" if note else row.name
    if number > len(shown):
        yield f"and {number - len(shown)} more (--json has all)"


def _next_steps(report: DrainReport) -> Iterator[str]:
    if report.state != "maintenance":
        return
    here = report.outcomes.get("came_back", 0) + report.outcomes.get("kept", 0)
    if here:
        yield (
            "stop OpenVPN now, as by `systemctl stop openvpn-server@server`; with"
            " `explicit-exit-notify 2` in its configuration who is still here tries the next server"
            " at once, if there is one"
        )
    else:
        yield "stop OpenVPN now, or whoever connects here is sent on again"
    yield f"afterwards `cuberouted resume` puts {report.node} into service again"


def _handed_over(report: DrainReport) -> list[str]:
    return [name for name in report.services if name not in report.kept_services]


def _kept(report: DrainReport) -> list[str]:
    if not report.kept_services:
        return []
    return [
        f"services that stay here, no other node can have them: {', '.join(report.kept_services)}"
    ]


def _ends(report: DrainReport) -> str:
    """In local time, as `--until` reads it."""
    if not report.until:
        return ""
    return f" until {dt.datetime.fromisoformat(report.until).astimezone():%Y-%m-%d %H:%M}"
