"""`cuberouted services`, for people and for pipes. Pure.

For people a block a service; in a pipe one table of all, a row for each node of each service.
"""

from __future__ import annotations

from cuberouted.api.report_services import ServiceNodeRow, ServiceRow, Services
from cuberouted.cli.table import Column, format_table
from cuberouted.cli.terminal import Terminal
from cuberouted.cli.times import format_age, format_since

_PHASE_STYLES = {
    "holding": "green",
    "standby": "",
    "unfit": "red",
    "last_resort": "red",
}
"""The colour of each phase. The others pass."""


def service_lines(services: Services, terminal: Terminal, now: float) -> list[str]:
    """Every service. *now*: Unix seconds."""
    if terminal.width is None:
        return _table_of_all(services, terminal)
    lines: list[str] = []
    for row in services.services:
        lines += ["", *_block(row, terminal, now)]
    return lines[1:]


def _table_of_all(services: Services, terminal: Terminal) -> list[str]:
    rows = [(service, node) for service in services.services for node in service.nodes]
    return format_table(
        [
            Column("NAME", [service.name for service, _ in rows]),
            Column("ADDRESS", [service.address for service, _ in rows]),
            Column("NODE", [node.node for _, node in rows]),
            Column("PHASE", [node.phase for _, node in rows]),
            Column("PRIORITY", [str(node.priority) for _, node in rows], right=True),
            Column("SINCE", [node.since or "-" for _, node in rows]),
            Column("CHECKED", [_seconds(node.checked) for _, node in rows]),
            Column("WHY", [node.why or "-" for _, node in rows]),
        ],
        terminal,
    )


def _block(row: ServiceRow, terminal: Terminal, now: float) -> list[str]:
    where = f"at {', '.join(row.holders)}" if row.holders else "nobody has it"
    nearest = ", placement = nearest" if row.placement == "nearest" else ""
    head = f"{row.name} ({row.address}{nearest}): {where}{f'; {row.why}' if row.why else ''}"
    problems = (f"problem: {problem}" for problem in row.problems)
    return [
        terminal.wrap(terminal.show(head), 2),
        *format_table(_columns(row.nodes, now), terminal),
        *(terminal.paint(terminal.wrap(terminal.show(text), 9), "red") for text in problems),
    ]


def _columns(nodes: list[ServiceNodeRow], now: float) -> list[Column]:
    here = {number: "bold" for number, node in enumerate(nodes) if node.local}
    styles = {number: _PHASE_STYLES.get(node.phase, "yellow") for number, node in enumerate(nodes)}
    names = [node.node for node in nodes]
    marked = [f"{node.node} (this node)" if node.local else node.node for node in nodes]
    columns = [
        Column("NODE", marked, short=names, may_be_cut=True, styles=here),
        Column("PHASE", [node.phase for node in nodes], styles=styles),
        Column("PRIORITY", [str(node.priority) for node in nodes], right=True),
        Column("SINCE", [format_since(n.since, now) if n.since else "-" for n in nodes]),
    ]
    if any(node.checked is not None for node in nodes):
        ages = ["-" if n.checked is None else f"{format_age(n.checked)} ago" for n in nodes]
        columns.append(Column("CHECKED", ages, optional=True))
    if any(node.why for node in nodes):
        columns.append(Column("WHY", [node.why or "-" for node in nodes], may_be_cut=True))
    return columns


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"
