"""Tables for people and programs: aligned columns that fit the terminal if they can.

rich's tables take 0.2 ms a row; a mesh has up to 20,000 clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from cuberouted.cli.terminal import Terminal, cell_len, cut

GAP = 2
"""Spaces between two columns."""

MIN_CUT = 8
"""Columns that a cut cell keeps at least, if the terminal is not wide enough even so."""


@attrs.frozen
class Column:
    """A column of a table.

    ``optional``: it is left out if the table is too wide for the terminal. ``short``: shorter
    cells, which are shown if it is still too wide. ``may_be_cut``: its cells are cut if it is
    even then too wide. ``right``: its cells are aligned at the right. ``styles``: by the number
    of the row.
    """

    title: str
    cells: Sequence[str]
    short: Sequence[str] | None = None
    optional: bool = False
    may_be_cut: bool = False
    right: bool = False
    styles: Mapping[int, str] = {}


def format_table(columns: Sequence[Column], terminal: Terminal) -> list[str]:
    """The lines of a table with a header. Without rows there is only the header."""
    columns = [_shown(column, terminal) for column in columns]
    if terminal.width is not None:
        columns = fit(columns, terminal.width, "…" if terminal.show("…") == "…" else "~")
    last = len(columns) - 1
    formatted = [
        _format_column(column, terminal, pad=number < last) for number, column in enumerate(columns)
    ]
    return [(" " * GAP).join(row) for row in zip(*formatted, strict=True)]


def fit(columns: Sequence[Column], width: int, ellipsis: str) -> list[Column]:
    """*columns*, changed until they need no more than *width*, or nothing more can give way.

    First columns are left out, then cells become short, both from right to left; then the widest
    of the columns that may be cut become narrower.
    """
    columns = list(columns)
    for number in reversed(range(len(columns))):
        if _width(columns) > width and columns[number].optional:
            del columns[number]
    for number in reversed(range(len(columns))):
        short = columns[number].short
        if _width(columns) > width and short is not None:
            columns[number] = attrs.evolve(columns[number], cells=short)
    widths = [_column_width(column) for column in columns]
    excess = _width(columns) - width
    cuttable = [number for number, column in enumerate(columns) if column.may_be_cut]
    while excess > 0 and cuttable:
        widest = max(cuttable, key=widths.__getitem__)
        if widths[widest] <= MIN_CUT:
            break
        widths[widest] -= 1
        excess -= 1
    return [
        attrs.evolve(column, cells=[cut(cell, limit, ellipsis) for cell in column.cells])
        if column.may_be_cut
        else column
        for column, limit in zip(columns, widths, strict=True)
    ]


def _shown(column: Column, terminal: Terminal) -> Column:
    return attrs.evolve(
        column,
        cells=[terminal.show(cell) for cell in column.cells],
        short=None if column.short is None else [terminal.show(cell) for cell in column.short],
    )


def _width(columns: Sequence[Column]) -> int:
    return sum(_column_width(column) + GAP for column in columns) - GAP


def _column_width(column: Column) -> int:
    return max(len(column.title), *map(cell_len, column.cells), 0)


def _format_column(column: Column, terminal: Terminal, *, pad: bool) -> list[str]:
    """The header and the cells, padded to the same width; *pad* is False for the last column."""
    width = _column_width(column)
    lines = []
    for number, cell in enumerate((column.title, *column.cells)):
        painted = terminal.paint(cell, column.styles.get(number - 1, "") if number else "bold")
        space = " " * (width - cell_len(cell))
        if column.right:
            lines.append(space + painted)
        else:
            lines.append(painted + space if pad else painted)
    return lines
