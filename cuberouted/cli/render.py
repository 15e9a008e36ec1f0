"""Renders reports for people: aligned columns, and colours on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cuberouted.api.report import Clients, Report, Routes, Status, pluralize

PIPED_WIDTH = 500
"""Columns if the output is not a terminal: no line is cut or wrapped."""

MAX_RICH_ROWS = 500
"""Longer tables, and those into a pipe, are printed as plain lines: rich takes 0.2 ms a row."""

STATE_COLOURS = {
    "up": "green",
    "connected": "green",
    "syncing": "yellow",
    "restarting": "yellow",
    "connecting": "yellow",
}

UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def console() -> Console:
    """Standard output. NO_COLOR is respected."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=PIPED_WIDTH)


def render(report: Report, out: Console) -> None:
    """Print any report."""
    match report:
        case Status():
            render_status(report, out)
        case Clients():
            render_clients(report, out)
        case Routes():
            render_routes(report, out)


def render_status(status: Status, out: Console) -> None:
    """Print this node, its OpenVPN processes and peers, and last what is wrong."""
    up = sum(peer.state == "up" for peer in status.peers)
    clients = sum(openvpn.clients for openvpn in status.openvpn)
    summary = (
        f"{status.node}: running for {format_duration(status.uptime)},"
        f" {pluralize(clients, 'client')} here,"
        f" {up} of {pluralize(len(status.peers), 'peer')} up,"
        f" {status.routes.installed} of {pluralize(status.routes.desired, 'route')} installed\n"
    )
    out.print(Text(summary), soft_wrap=True)
    openvpns = [(o.name, o.state, o.version or "-", o.shared) for o in status.openvpn]
    _print_table(out, ("OPENVPN", "STATE", "VERSION", "CLIENTS"), openvpns)
    out.print()
    columns = ["PEER", "STATE", "CLIENTS", "LAST HEARD", "ENCRYPTED"]
    peers = [
        [
            p.known_as or p.name,
            p.state,
            str(p.clients),
            "-" if p.last_heard is None else f"{format_duration(p.last_heard)} ago",
            "yes" if p.encrypted else "no",
        ]
        for p in status.peers
    ]
    if any(p.refused_prefixes for p in status.peers):
        columns.append("REFUSED")
        for row, p in zip(peers, status.peers, strict=True):
            row.append(str(p.refused_prefixes))
    _print_table(out, columns, peers)
    if status.rejected_connections:
        out.print(f"\n{pluralize(status.rejected_connections, 'connection')} rejected")
    problems = _problems(status)
    if problems:
        out.print(Text("\n".join(("", *problems))), soft_wrap=True)


def _problems(status: Status) -> list[str]:
    openvpns = [f"{o.name}: {o.detail}" for o in status.openvpn if o.detail]
    peers = [f"peer {p.known_as or p.name}: {p.detail}" for p in status.peers if p.detail]
    return openvpns + peers + status.problems + [f"warning: {text}" for text in status.warnings]


def render_clients(clients: Clients, out: Console) -> None:
    """Print every client in the mesh."""
    rows = [
        (c.address, c.node + (" (here)" if c.local else ""), c.name or "-", c.kind, c.since)
        for c in clients.clients
    ]
    _print_table(out, ("ADDRESS", "NODE", "NAME", "KIND", "SINCE"), rows)


def render_routes(routes: Routes, out: Console) -> None:
    """Print the installed routes."""
    rows = [
        (
            r.destination,
            r.node or "-",
            r.interface or "-",
            r.gateway or "-",
            r.kind or "-",
            r.name or "-",
            "-" if r.age is None else format_duration(r.age),
        )
        for r in routes.routes
    ]
    columns = ("DESTINATION", "NODE", "INTERFACE", "GATEWAY", "KIND", "NAME", "AGE")
    _print_table(out, columns, rows)


def format_duration(seconds: float) -> str:
    """The two largest units: ``3 days 2 h``, ``12.3 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}")
    return " ".join(parts[:2])


def _print_table(out: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not out.is_terminal or len(rows) > MAX_RICH_ROWS:
        _print_plain(out, (columns, *rows))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*(Text(cell, style=STATE_COLOURS.get(cell, "")) for cell in row))
    out.print(table)


def _print_plain(out: Console, lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (
            cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)
        )
        out.file.write("  ".join(padded).rstrip() + "\n")
