"""A node that is drained or in maintenance, in a sentence for people. Pure."""

from __future__ import annotations

import datetime as dt

from cuberouted.api.report import Maintained
from cuberouted.cli.times import format_age
from cuberouted.model import in_words


def maintenance_text(row: Maintained, now: float) -> str:
    """``draining for 4 min (56 min left), by root: kernel update``. *now*: Unix seconds."""
    lasted = f" for {format_age(now - _seconds(row.since))}" if row.since else ""
    left = f" ({format_age(_seconds(row.until) - now)} left)" if row.until else ""
    by = f", by {row.by}" if row.by else ""
    why = f": {row.reason}" if row.reason else ""
    return f"{in_words(row.maintenance)}{lasted}{left}{by}{why}"


def _seconds(time: str) -> float:
    return dt.datetime.fromisoformat(time).timestamp()
