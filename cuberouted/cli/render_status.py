"""`cuberouted status` for people."""

from __future__ import annotations

from collections.abc import Iterator

from cuberouted.api.report import OpenVPNRow, PeerRow, Status, pluralize
from cuberouted.cli.render_maintenance import maintenance_text
from cuberouted.cli.table import Column, format_table
from cuberouted.cli.terminal import Terminal
from cuberouted.cli.times import format_age, format_duration

_STATE_STYLES = {
    "up": "green",
    "running": "green",
    "standby": "",
    "connected": "green",
    "syncing": "yellow",
    "restarting": "yellow",
    "connecting": "yellow",
    "draining": "yellow",
    "maintenance": "yellow",
}

SILENT = 10.0
"""Seconds since a peer was heard, from when on the way to it may be the reason that it is down."""

REACHED = ("it rejects us", "no handshake")
"""In the details of a peer to which there is a way."""


def status_lines(status: Status, terminal: Terminal, now: float) -> list[str]:
    """This node, its OpenVPN processes and peers, then what is wrong, and last the verdict.

    The end is what is in view when a long text has passed. *now*: Unix seconds.
    """
    problems, warnings = list(_problems(status)), list(_warnings(status, now))
    return [
        terminal.wrap(terminal.show(_summary(status)), 2),
        "",
        *format_table(_openvpn_columns(status.openvpn), terminal),
        "",
        *format_table(_peer_columns(status.peers), terminal),
        "",
        *(terminal.wrap(terminal.show(text), 2) for text in _on_standby(status)),
        *_rejected(status),
        *_graceful_restart(status),
        *(_finding("problem", "red", text, terminal) for text in problems),
        *(_finding("warning", "yellow", text, terminal) for text in warnings),
        _verdict(len(problems), len(warnings), terminal),
    ]


def state_styles(states: list[str]) -> dict[int, str]:
    """The colour of each state in a column."""
    return {number: _STATE_STYLES.get(state, "red") for number, state in enumerate(states)}


def heard(seconds: float | None) -> str:
    """How long ago a peer's last message was received."""
    if seconds is None:
        return "never"
    return f"{seconds:.1f} s ago" if seconds < SILENT else f"{format_age(seconds)} ago"


def _summary(status: Status) -> str:
    up = sum(peer.state == "up" for peer in status.peers)
    clients = sum(openvpn.clients for openvpn in status.openvpn)
    return (
        f"{status.node}: running {format_duration(status.uptime)},"
        f" {pluralize(clients, 'client')} here,"
        f" {up} of {pluralize(len(status.peers), 'peer')} up,"
        f" {status.routes.installed} of {pluralize(status.routes.desired, 'route')}"
    )


def _rejected(status: Status) -> list[str]:
    number = status.rejected_connections
    return [f"{pluralize(number, 'connection')} rejected since the start"] if number else []


def _graceful_restart(status: Status) -> list[str]:
    seconds = status.keeps_routes_for
    if seconds is None:
        return []
    return [f"graceful restart: a stop within {format_duration(seconds)} keeps the routes"]


def _openvpn_columns(openvpns: list[OpenVPNRow]) -> list[Column]:
    states = [o.state for o in openvpns]
    return [
        Column("OPENVPN", [o.name for o in openvpns], may_be_cut=True),
        Column("STATE", states, styles=state_styles(states)),
        Column("CLIENTS", [o.shared for o in openvpns], right=True),
        Column("VERSION", [o.version or "-" for o in openvpns]),
    ]


def _peer_columns(peers: list[PeerRow]) -> list[Column]:
    states = [p.state for p in peers]
    columns = [
        Column(
            "PEER",
            [p.known_as or p.name for p in peers],
            short=[p.name for p in peers],
            may_be_cut=True,
        ),
        Column("STATE", states, styles=state_styles(states)),
        Column("CLIENTS", [str(p.clients) for p in peers], right=True),
        Column("LAST HEARD", [heard(p.last_heard) for p in peers]),
        Column("ENCRYPTED", ["yes" if p.encrypted else "no" for p in peers], optional=True),
    ]
    if any(p.refused_prefixes for p in peers):
        refused = [str(p.refused_prefixes) for p in peers]
        columns.append(Column("REFUSED", refused, right=True))
    return columns


def _problems(status: Status) -> Iterator[str]:
    for openvpn in status.openvpn:
        if not openvpn.well:
            yield f"{openvpn.name}: {_sentence(openvpn.detail or openvpn.state, _advice(openvpn))}"
    for peer in status.peers:
        if peer.state != "up":
            name = peer.known_as or peer.name
            yield f"peer {name}: {_sentence(peer.detail or peer.state, _peer_advice(peer))}"
    yield from status.problems


def _on_standby(status: Status) -> list[str]:
    return [f"{o.name}: on standby, {o.detail}" for o in status.openvpn if o.state == "standby"]


def _warnings(status: Status, now: float) -> Iterator[str]:
    if not status.takes_clients:
        yield f"this node is {maintenance_text(status, now)}"
    for peer in status.peers:
        if not peer.takes_clients:
            yield f"peer {peer.known_as or peer.name} is {maintenance_text(peer, now)}"
        if peer.detail and peer.state == "up":  # the hold timer runs
            yield f"peer {peer.known_as or peer.name}: {peer.detail}"
    yield from status.warnings


def _sentence(what: str, advice: str) -> str:
    return f"{what}; {advice}" if advice else what


def _advice(openvpn: OpenVPNRow) -> str:
    if "the password file" in openvpn.detail:
        return "`cuberouted check` looks why"
    if openvpn.state == "waiting" and "OpenVPN" not in openvpn.detail:
        return "is OpenVPN running, and is this its management interface or status file?"
    return ""


def _peer_advice(peer: PeerRow) -> str:
    silent = peer.last_heard is None or peer.last_heard > SILENT
    if peer.state == "down" and silent and any(what in peer.detail for what in REACHED):
        return "`cuberouted check --peers` looks"
    if peer.state == "down" and silent:
        return "is the tunnel up, and cuberouted running there? `cuberouted check --peers` looks"
    if peer.state == "incompatible":
        return "install the same version of cuberouted on both"
    return ""


def _finding(level: str, style: str, text: str, terminal: Terminal) -> str:
    head = f"{level}: "
    wrapped = terminal.wrap(terminal.show(head + text), len(head))
    return terminal.paint(head, style) + wrapped.removeprefix(head)


def _verdict(problems: int, warnings: int, terminal: Terminal) -> str:
    counts = [pluralize(n, noun) for n, noun in ((problems, "problem"), (warnings, "warning")) if n]
    if problems:
        return terminal.paint(", ".join(counts), "red")
    if warnings:
        return terminal.paint(", ".join(counts), "yellow")
    return terminal.paint("all is well", "green")
