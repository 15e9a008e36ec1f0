"""Formats figures as the tables of docs/performance.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.lab.host import PROJECT

PAGE = PROJECT / "docs/performance.md"


@attrs.frozen
class Table:
    """One table. ``remarks``: paragraphs below it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...] = ()

    def text(self) -> str:
        """The table in Markdown; figures are right-aligned."""
        lines = [self.head, ("---", *["---:"] * (len(self.head) - 1)), *self.rows]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n\n".join([f"**{self.title}**", table, *self.remarks])


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which *percent* of *values* lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    """The median; of an even number of values the upper one."""
    return percentile(values, 50)


def ms(seconds: float) -> str:
    """Milliseconds with a sensible number of digits."""
    value = 1000 * seconds
    return f"{value:,.1f} ms" if value < 100 else f"{value:,.0f} ms"


def distribution(values: Sequence[float]) -> tuple[str, ...]:
    """Median, 90th percentile and maximum."""
    return ms(median(values)), ms(percentile(values, 90)), ms(max(values))


SPREAD = ("median", "p90", "max")


def ratio(one: float, other: float) -> str:
    """*one* divided by *other*."""
    return f"{one / other:.2f}"


def machine() -> str:
    """The machine and the versions, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]},"
        f" Python {platform.python_version()}, {_version('openvpn')}, {_version('bird')};"
        f" load average before: {os.getloadavg()[0]:.1f}"
    )


def _version(program: str) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"no {program}"
    return " ".join((done.stdout + done.stderr).replace("version ", "").split()[:2])


def write(name: str, tables: Sequence[Table], about: str, page: Path = PAGE) -> None:
    """Write *tables* between the markers of benchmark *name* in *page*.

    Raises:
      ValueError: the page has no such markers.
    """
    begin, end = f"<!-- bench {name} -->\n", f"<!-- end {name} -->"
    text = page.read_text()
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{page.name} has no markers for {name}")
    made = "\n\n".join([*(table.text() for table in tables), f"`make bench BENCH={name}`: {about}"])
    page.write_text(before + begin + made + "\n" + end + after)
