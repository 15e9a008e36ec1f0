"""Renders the view: lines of text with styles, as many and as wide as the terminal.

Pure. Only the rows that are visible are rendered, with what rich has for single lines: its tables
take 0.2 ms a row. Without colours everything is still in words.
"""

from __future__ import annotations

import codecs
import datetime as dt
from collections.abc import Iterable, Sequence

import attrs
from rich.cells import set_cell_size
from rich.text import Text

from cuberouted.api.report import Status, pluralize
from cuberouted.api.report_services import ServiceRow
from cuberouted.cli.event_lines import LEVEL_STYLES, printable
from cuberouted.cli.render_maintenance import maintenance_text
from cuberouted.cli.render_status import state_styles
from cuberouted.cli.terminal import cell_len
from cuberouted.cli.watch.layout import Layout
from cuberouted.cli.watch.model import Node, Overlay, Watch

GAP = 2
"""Columns between two columns of a table."""

DIM = "dim"
FROZEN = "reverse"
CHANGE_STYLES = {"left": "red", "found": "", "joined": "green", "reconnected": "green"}
"""The style of a client that has just changed; otherwise it has moved."""
MOVED = "bold cyan"


@attrs.frozen
class Look:
    """What the terminal can show, and the time zone of what is printed; None: the local one."""

    encoding: str = "utf-8"
    zone: dt.tzinfo | None = None

    @property
    def is_utf8(self) -> bool:
        """Whether there are lines and an ellipsis."""
        return codecs.lookup(self.encoding).name == "utf-8"

    def line(self, width: int) -> str:
        """A horizontal line."""
        return ("─" if self.is_utf8 else "-") * width

    @property
    def bar(self) -> str:
        """A piece of a vertical line."""
        return "│" if self.is_utf8 else "|"

    def fit(self, text: str, width: int) -> str:
        """*text* in exactly *width* columns."""
        text = printable(text, self.encoding)
        size = cell_len(text)
        if size <= width:
            return text + " " * (width - size)
        ellipsis = "…" if self.is_utf8 else "~"
        return set_cell_size(text, width - 1) + ellipsis if width > 0 else ""


def render(view: Watch, now: float, wall_clock: float, look: Look) -> list[Text]:
    """The screen. *now* is monotonic, *wall_clock* Unix seconds."""
    layout = view.layout
    lines = [_header(view, layout, wall_clock, look), *_problems(view, layout, look)]
    if layout.nodes:
        lines += _nodes(view.nodes, layout, wall_clock, look)
    if layout.services:
        lines += _services(view.shown.services, layout, look)
    shown_at = view.shown_at(now)
    today = dt.datetime.fromtimestamp(wall_clock, look.zone).date()
    clients = _clients(view, layout, shown_at, today, look) if layout.clients else []
    events = _events(view, layout, look) if layout.events else []
    if layout.side_by_side:
        bar = Text(f" {look.bar} ", DIM)
        lines += [Text.assemble(left, bar, right) for left, right in _zip(clients, events, layout)]
    else:
        lines += [*clients, *events]
    lines += [Text()] * (layout.height - 1 - len(lines))
    if view.overlay is not None:
        lines[1:] = _overlay(view.overlay, layout, look)
    lines = [*lines[: layout.height - 1], _footer(view, layout, look)]
    for line in lines:
        line.truncate(layout.width)
    return lines


# -- the first line and the last one --


def _header(view: Watch, layout: Layout, wall_clock: float, look: Look) -> Text:
    status = view.shown.status
    left = Text.assemble(" ", (printable(view.shown.node or "cuberouted", look.encoding), "bold"))
    left.append("  ")
    left.append_text(_verdict(view, status))
    facts = []
    if status is not None:
        facts.append(pluralize(len(view.shown.clients), "client"))
        up = 1 + sum(peer.state == "up" for peer in status.peers)
        facts.append(f"{up} of {pluralize(1 + len(status.peers), 'node')} up")
        facts.append(f"{pluralize(status.routes.installed, 'route')}")
    clock = dt.datetime.fromtimestamp(wall_clock, look.zone).strftime("%H:%M:%S ")
    room = layout.width - left.cell_len
    while facts and len("   ".join([*facts, clock])) + 2 > room:
        facts.pop()
    right = "   ".join([*facts, clock])
    left.truncate(max(layout.width - len(right) - 1, 0))
    left.append(" " * (layout.width - left.cell_len - len(right)))
    left.append(right)
    return left


def _verdict(view: Watch, status: Status | None) -> Text:
    if view.trouble:
        return Text(view.trouble, "red")
    if status is None:
        return Text("connecting to the daemon", "yellow")
    if status.well:
        return Text("all is well", "green")
    ill = sum(p.state != "up" for p in status.peers) + sum(not o.well for o in status.openvpn)
    return Text(pluralize(ill + len(status.problems), "problem"), "red")


def _footer(view: Watch, layout: Layout, look: Look) -> Text:
    if view.overlay is not None:
        line = Text.assemble(" ", ("Esc", "bold"), (" back   ", DIM), ("j k", "bold"))
        line.append(" scroll", DIM)
    elif view.filtering:
        line = Text.assemble((" filter: ", "bold"), printable(view.filter, look.encoding))
        line.append(" ", "reverse")
        line.append("   Enter keep   Esc show all", DIM)
    elif view.is_frozen:
        text = f" frozen; {pluralize(view.missed, 'event')} since "
        line = Text.assemble((text, FROZEN), ("  p go on", DIM))
    else:
        line = Text(" ")
        other = "clients" if view.events_first else "events"
        hints = ("q quit", "/ filter", "s sort", "p freeze", f"Tab {other}", "Enter why", "? help")
        for hint in hints:
            key, _, meaning = hint.partition(" ")
            if line.cell_len + len(hint) + 3 > layout.width:
                break
            line.append(key, "bold")
            line.append(f" {meaning}   ", DIM)
    line.truncate(layout.width - 1)  # a character in the last column would scroll some terminals
    return line


# -- problems and nodes --


def _problems(view: Watch, layout: Layout, look: Look) -> list[Text]:
    problems = view.problems
    lines = [
        Text(look.fit(f" {problem}", layout.width), "yellow" if _is_warning(problem) else "red")
        for problem in problems[: layout.problems]
    ]
    if lines and len(problems) > layout.problems:
        more = f"; {len(problems) - layout.problems} more: cuberouted status"
        first = look.fit(f" {problems[layout.problems - 1]}", layout.width - len(more)).rstrip()
        lines[-1] = Text(first + more, "red")
    return lines


def _is_warning(problem: str) -> bool:
    return problem.startswith("warning: ")


def _nodes(nodes: Sequence[Node], layout: Layout, wall_clock: float, look: Look) -> list[Text]:
    lines = [_title("nodes", "", layout.width, look, active=False)]
    # peers that are up may be left out, the others stay in their order
    ill = [node for node in nodes if node.state not in ("up", "running")]
    order = nodes if len(nodes) <= layout.nodes else [nodes[0], *(n for n in ill if n != nodes[0])]
    if len(order) < min(len(nodes), layout.nodes):
        order = [*order, *(node for node in nodes if node not in order)]
    name_width = min(_width(node.name for node in order), 30)
    state_width = min(_width(node.state for node in order), 14)
    clients_width = _width(pluralize(node.clients, "client") for node in order)
    for node in order[: layout.nodes]:
        line = Text(" ")
        line.append(look.fit(node.name, name_width), "bold")
        line.append(" " * GAP)
        line.append(look.fit(node.state, state_width), state_styles([node.state])[0])
        line.append(" " * GAP)
        line.append(f"{pluralize(node.clients, 'client'):>{clients_width}}")
        line.append(" " * GAP)
        if node.away is not None:
            line.append(printable(maintenance_text(node.away, wall_clock), look.encoding), "yellow")
            line.append("; " if node.detail else "")
        line.append(look.fit(node.detail, max(layout.width - line.cell_len, 0)), "red")
        lines.append(line)
    hidden = len(nodes) - layout.nodes
    if hidden > 0:
        lines[0] = _title("nodes", f"{hidden} more not shown", layout.width, look, active=False)
    return lines


def _services(services: Sequence[ServiceRow], layout: Layout, look: Look) -> list[Text]:
    hidden = len(services) - layout.services
    note = f"{hidden} more: cuberouted services" if hidden > 0 else ""
    # those that are not well come first, the others stay in their order
    order = sorted(services, key=lambda service: service.well)[: layout.services]
    names, addresses = ([getattr(s, key) for s in order] for key in ("name", "address"))
    name_width, address_width = min(_width(names), 30), _width(addresses)
    lines = [_title("services", note, layout.width, look, active=False)]
    for service in order:
        line = Text(" ")
        line.append(look.fit(service.name, name_width), "bold")
        line.append(" " * GAP + look.fit(service.address, address_width) + " " * GAP)
        where = f"at {', '.join(service.holders)}" if service.holders else "nobody has it"
        others = [node for node in service.nodes if node.node not in service.holders]
        if service.well:
            line.append(printable(where, look.encoding), "green")
            rest = "".join(f", {node.node} {node.phase}" for node in others)
            line.append(printable(rest, look.encoding), DIM)
        else:
            first = service.problems[0] if service.problems else where
            text = f"{where}; {first}" if service.holders and service.problems else first
            line.append(printable(text, look.encoding), "red")
        lines.append(_cut(line, layout.width, look))
    return lines


def _cut(line: Text, width: int, look: Look) -> Text:
    """*line* with an ellipsis, if it is wider than *width* columns."""
    if line.cell_len > width:
        line.truncate(max(width - 1, 0))
        line.append(look.fit("..", 1))
    return line


# -- clients and events --


def _clients(view: Watch, layout: Layout, now: float, today: dt.date, look: Look) -> list[Text]:
    rows, width = view.clients(), layout.clients_width
    view.clients_cursor.place(rows, layout.clients)
    top = view.clients_cursor.top
    visible = rows[top : top + layout.clients]
    total = len(view.shown.clients)
    count = f"{len(rows)} of {total} (filter: {view.filter})" if view.filter else str(total)
    note = f"{count}, by {view.order}"
    title = _title("clients", note, width, look, active=not view.events_first)
    cells = [
        tuple(
            printable(cell, look.encoding)
            for cell in (c.address, c.name or "-", c.node, _since(c.since, today, look))
        )
        for c in visible
    ]
    names = ("ADDRESS", "NAME", "NODE", "SINCE")
    widths = view.client_columns(list(map(_width, zip(names, *cells, strict=True))))
    widths = list(map(min, widths, _limits(width)))
    header = " " + (" " * GAP).join(look.fit(n, w) for n, w in zip(names, widths, strict=True))
    lines = [title, Text(look.fit(header, width), DIM)]
    for number, (client, row) in enumerate(zip(visible, cells, strict=True)):
        text = " " + (" " * GAP).join(look.fit(c, w) for c, w in zip(row, widths, strict=True))
        style = ""
        if client.is_highlighted(now):
            text += " " * GAP + client.change
            style = CHANGE_STYLES.get(client.change, MOVED)
        line = Text(look.fit(text, width), style)
        if top + number == view.clients_cursor.index and not view.events_first:
            line.stylize("reverse")
        lines.append(line)
    if not rows:
        lines.append(Text(look.fit(_nothing(view, "client"), width), DIM))
    return lines + [Text(" " * width)] * (layout.clients + 2 - len(lines))


def _limits(width: int) -> tuple[int, int, int, int]:
    # most columns of address, name, node and time: the rest is for what has changed
    rest = max(width - 60, 0)
    return 15 + min(rest, 24), 14 + rest // 3, 12 + rest // 6, 12


def _events(view: Watch, layout: Layout, look: Look) -> list[Text]:
    rows, width = view.events(), layout.events_width
    view.events_cursor.place(rows, layout.events)
    top = view.events_cursor.top
    visible = rows[top : top + layout.events]
    below = len(rows) - top - len(visible)
    note = f"{below} newer below" if below else ""
    lines = [_title("events", note, width, look, active=view.events_first)]
    for number, row in enumerate(visible):
        time = row.event.time.astimezone(look.zone).strftime("%H:%M:%S")
        line = Text.assemble(" ", (time, DIM), "  ")
        colour = LEVEL_STYLES.get(row.event.level, "")
        line.append(look.fit(row.text, width - line.cell_len), colour)
        if top + number == view.events_cursor.index and view.events_first:
            line.stylize("reverse")
        lines.append(line)
    if not rows:
        lines.append(Text(look.fit(_nothing(view, "event"), width), DIM))
    return lines + [Text(" " * width)] * (layout.events + 1 - len(lines))


def _nothing(view: Watch, noun: str) -> str:
    if view.filter:
        return f" no {noun} matches the filter"
    return "" if view.shown.status is None else f" no {noun} yet"


def _since(seconds: int, today: dt.date, look: Look) -> str:
    if not seconds:
        return "-"
    try:
        time = dt.datetime.fromtimestamp(seconds, look.zone)
    except (ValueError, OverflowError):
        return "-"
    if time.date() == today:
        return time.strftime("%H:%M:%S")
    return time.strftime("%b %d %H:%M" if time.year == today.year else "%Y-%m-%d")


# -- parts --


def _title(name: str, note: str, width: int, look: Look, *, active: bool) -> Text:
    line = Text.assemble((look.line(2) + " ", DIM), (name, "bold" if active else ""))
    if note:
        line.append(f"  {printable(note, look.encoding)}", DIM)
    line.truncate(max(width - 2, 0))
    line.append(" " + look.line(width - line.cell_len - 1), DIM)
    return line


def _width(cells: Iterable[str]) -> int:
    return max(map(cell_len, cells), default=0)


def _zip(left: list[Text], right: list[Text], layout: Layout) -> list[tuple[Text, Text]]:
    blanks = Text(" " * layout.clients_width), Text(" " * layout.events_width)
    height = max(len(left), len(right))
    left = left + [blanks[0]] * (height - len(left))
    right = right + [blanks[1]] * (height - len(right))
    return list(zip(left, right, strict=True))


def _overlay(overlay: Overlay, layout: Layout, look: Look) -> list[Text]:
    text = ["asking the daemon"] if overlay.lines is None else overlay.lines
    room = max(layout.height - 4, 0)
    visible = text[overlay.top : overlay.top + room]
    below = len(text) - overlay.top - len(visible)
    lines = [_title(overlay.title, "", layout.width, look, active=True), Text()]
    lines += [Text(look.fit(f"  {line}", layout.width)) for line in visible]
    lines += [Text()] * (layout.height - 2 - len(lines))
    if below > 0:
        lines[-1] = Text(f"  {pluralize(below, 'line')} below", DIM)
    return lines
