"""The reports as people read them: aligned columns, plain words, colour only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from cuberouted.api.report import Clients, Report, Routes, Status, pluralize
from cuberouted.check.rules import Finding, Level

PIPED_WIDTH = 500
"""Columns where there is no terminal: a pipe is never a reason to cut a line."""

COLOURS = {
    "up": "green",
    "connected": "green",
    "syncing": "yellow",
    "restarting": "yellow",
    "connecting": "yellow",
}

LEVELS = {
    Level.OK: "green",
    Level.WAIT: "yellow",
    Level.WARNING: "yellow",
    Level.PROBLEM: "red",
}

UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def console() -> Console:
    """Standard output. NO_COLOR is respected."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PIPED_WIDTH)


def render(answer: Report, out: Console) -> None:
    """Any report."""
    match answer:
        case Status():
            render_status(answer, out)
        case Clients():
            render_clients(answer, out)
        case Routes():
            render_routes(answer, out)


def render_status(status: Status, out: Console) -> None:
    """This node, its OpenVPN, its peers; what is wrong comes last, where the eye ends."""
    up = sum(peer.state == "up" for peer in status.peers)
    clients = sum(openvpn.clients for openvpn in status.openvpn)
    summary = (
        f"{status.node}: running for {duration(status.uptime)},"
        f" {pluralize(clients, 'client')} here, {up} of {pluralize(len(status.peers), 'peer')} up,"
        f" {status.routes.installed} of {pluralize(status.routes.desired, 'route')} installed\n"
    )
    out.print(Text(summary))
    openvpns = [(o.name, o.state, o.version or "-", str(o.clients)) for o in status.openvpn]
    _print_table(out, ("OPENVPN", "STATE", "VERSION", "CLIENTS"), openvpns)
    out.print()
    peers = [
        (
            p.name,
            p.state,
            str(p.clients),
            "-" if p.last_heard is None else f"{duration(p.last_heard)} ago",
            "yes" if p.encrypted else "no",
        )
        for p in status.peers
    ]
    _print_table(out, ("PEER", "STATE", "CLIENTS", "LAST HEARD", "ENCRYPTED"), peers)
    if status.rejected_connections:
        out.print(f"\n{pluralize(status.rejected_connections, 'connection')} rejected")
    problems = _problems(status)
    if problems:
        out.print(Text("\n".join(("", *problems))))


def _problems(status: Status) -> list[str]:
    openvpns = [f"{o.name}: {o.detail}" for o in status.openvpn if o.detail]
    peers = [f"peer {p.name}: {p.detail}" for p in status.peers if p.detail]
    return openvpns + peers + status.problems


def render_clients(clients: Clients, out: Console) -> None:
    """Every client in the mesh."""
    rows = [
        (c.address, c.node + (" (here)" if c.local else ""), c.name or "-", c.kind, c.since)
        for c in clients.clients
    ]
    _print_table(out, ("ADDRESS", "NODE", "NAME", "KIND", "SINCE"), rows)


def render_routes(routes: Routes, out: Console) -> None:
    """The routes of ours in the kernel."""
    rows = [
        (
            r.destination,
            r.node or "-",
            r.interface or "-",
            r.gateway or "-",
            r.kind or "-",
            r.name or "-",
            "-" if r.age is None else duration(r.age),
        )
        for r in routes.routes
    ]
    columns = ("DESTINATION", "NODE", "INTERFACE", "GATEWAY", "KIND", "NAME", "AGE")
    _print_table(out, columns, rows)


def render_findings(findings: Sequence[Finding], out: Console) -> None:
    """What `check` has found, a line each, and the sum."""
    for finding in findings:
        mark = Text(f"{finding.level.value:8}", style=LEVELS[finding.level])
        out.print(mark, Text(f"{finding.subject}: {finding.text}"))
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    out.print(f"\n{pluralize(problems, 'problem')}" if problems else "\nno problem found")


def has_problem(findings: Iterable[Finding]) -> bool:
    """Whether the daemon would not do its work."""
    return any(finding.level is Level.PROBLEM for finding in findings)


def duration(seconds: float) -> str:
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
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    out.print(_line(columns, widths, lambda _: "bold"))
    for row in rows:
        out.print(_line(row, widths, lambda cell: COLOURS.get(cell, "")))


def _line(cells: Sequence[str], widths: Sequence[int], style: Callable[[str], str]) -> Text:
    padded = (
        Text(cell + " " * (width - cell_len(cell)), style=style(cell))
        for cell, width in zip(cells, widths, strict=True)
    )
    line = Text("  ").join(padded)
    line.rstrip()
    return line
