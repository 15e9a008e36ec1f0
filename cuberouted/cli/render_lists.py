"""`cuberouted clients`, `dump-routes` and `nodes`, for people and for pipes.

In a pipe no cell but a name contains a space, times are ISO 8601 and ages are seconds; the
columns are always the same, and the name, which may contain spaces, is the last one.
"""

from __future__ import annotations

from cuberouted.api.report import Clients, Nodes, Report, Routes, Status
from cuberouted.cli.render_maintenance import maintenance_text
from cuberouted.cli.render_status import heard, state_styles, status_lines
from cuberouted.cli.table import Column, format_table
from cuberouted.cli.terminal import Terminal
from cuberouted.cli.times import format_age, format_since


def lines(report: Report, terminal: Terminal, now: float) -> list[str]:
    """What is printed of any report. *now*: Unix seconds."""
    match report:
        case Status():
            return status_lines(report, terminal, now)
        case Clients():
            return client_lines(report, terminal, now)
        case Routes():
            return route_lines(report, terminal)
        case Nodes():
            return node_lines(report, terminal, now)


def client_lines(clients: Clients, terminal: Terminal, now: float) -> list[str]:
    """Every client of the mesh. *now*: Unix seconds."""
    rows = clients.clients
    nodes, since = [c.node for c in rows], [c.since for c in rows]
    here = {number: "bold" for number, c in enumerate(rows) if c.local}
    if terminal.width is not None:
        since = [format_since(time, now) for time in since]
    return format_table(
        [
            Column("ADDRESS", [c.address for c in rows], styles=here),
            _node_column("NODE", nodes, here, terminal, "(here)"),
            Column("KIND", [c.kind for c in rows], optional=True),
            Column("CONNECTED", since),
            Column("NAME", [c.name or "-" for c in rows], may_be_cut=True, styles=here),
        ],
        terminal,
    )


def route_lines(routes: Routes, terminal: Terminal) -> list[str]:
    """The installed routes. What only the daemon knows may be missing."""
    rows = routes.routes
    gateways = [r.gateway or "-" for r in rows]
    columns = [
        Column("DESTINATION", [_without_host_length(r.destination) for r in rows]),
        Column("NODE", [r.node or "-" for r in rows], may_be_cut=True),
        Column("DEV", [r.interface or "-" for r in rows]),
        Column("GATEWAY", gateways),
        Column("KIND", [r.kind or "-" for r in rows], optional=True),
        Column("AGE", [_age(r.age, terminal) for r in rows]),
        Column("NAME", [r.name or "-" for r in rows], may_be_cut=True),
    ]
    if terminal.width is not None and not any(r.gateway for r in rows):
        columns = [column for column in columns if column.title != "GATEWAY"]
    return format_table(columns, terminal)


def node_lines(nodes: Nodes, terminal: Terminal, now: float) -> list[str]:
    """Every node, those that take no clients, and the OpenVPN processes of this one.

    *now*: Unix seconds.
    """
    rows = nodes.nodes
    states = [n.state for n in rows]
    here = {number: "bold" for number, n in enumerate(rows) if n.local}
    encrypted = ["-" if n.encrypted is None else "yes" if n.encrypted else "no" for n in rows]
    maintenance = [n.maintenance or "-" for n in rows]
    columns = [
        _node_column("NODE", [n.name for n in rows], here, terminal, "(this node)"),
        Column("STATE", states, styles=state_styles(states)),
        Column("MAINTENANCE", maintenance, styles=_drained(nodes)),
        Column("CLIENTS", [str(n.clients) for n in rows], right=True),
        Column("CAPACITY", [str(n.capacity or "-") for n in rows], right=True),
        Column("LAST HEARD", [_heard(n.last_heard, n.local, terminal) for n in rows]),
        Column("ADDRESS", [n.address or "-" for n in rows]),
        Column("DEV", [n.interface or "-" for n in rows]),
        Column("ENCRYPTED", encrypted, optional=True),
    ]
    if terminal.width is None:
        return format_table(columns, terminal)
    superfluous = {
        "MAINTENANCE": all(n.takes_clients for n in rows),
        "CAPACITY": not any(n.capacity for n in rows),
    }
    columns = [column for column in columns if not superfluous.get(column.title)]
    below = [*_maintenance_lines(nodes, terminal, now)]
    processes = ", ".join(f"{o.name} {o.state}" for n in rows for o in n.openvpn)
    if processes:
        below.append(f"OpenVPN here: {processes}")
    return [*format_table(columns, terminal), *([""] if below else []), *below]


def _drained(nodes: Nodes) -> dict[int, str]:
    return {number: "yellow" for number, n in enumerate(nodes.nodes) if not n.takes_clients}


def _maintenance_lines(nodes: Nodes, terminal: Terminal, now: float) -> list[str]:
    """Why each node that takes no clients does not."""
    return [
        terminal.wrap(terminal.show(f"{node.name} is {maintenance_text(node, now)}"), 2)
        for node in nodes.nodes
        if not node.takes_clients
    ]


def _node_column(
    title: str, nodes: list[str], here: dict[int, str], terminal: Terminal, mark: str
) -> Column:
    if terminal.width is None:
        return Column(title, nodes)
    marked = [f"{node} {mark}" if number in here else node for number, node in enumerate(nodes)]
    return Column(title, marked, short=nodes, may_be_cut=True, styles=here)


def _without_host_length(destination: str) -> str:
    """As `ip route` prints it, and `clients` the address."""
    address, _, length = destination.partition("/")
    return address if length == ("128" if ":" in address else "32") else destination


def _age(seconds: float | None, terminal: Terminal) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f}" if terminal.width is None else format_age(seconds)


def _heard(seconds: float | None, local: bool, terminal: Terminal) -> str:
    if local or (seconds is None and terminal.width is None):
        return "-"
    if terminal.width is None:
        return f"{seconds:.1f}"
    return heard(seconds)
