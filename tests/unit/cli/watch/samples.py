"""A mesh to be watched: three nodes, 412 clients, and a few events."""

from __future__ import annotations

import datetime as dt

import msgspec

from cuberouted.api.report import ClientRow, OpenVPNRow, PeerRow, RouteCounts, Status, iso_time
from cuberouted.api.report_services import ServiceNodeRow, ServiceRow
from cuberouted.cli.watch.mesh import client_of
from cuberouted.cli.watch.model import Watch
from cuberouted.events import (
    ClientJoined,
    ClientLeft,
    ClientMoved,
    ClientRenewed,
    NodeStarted,
    PeerStateChanged,
    ReloadRefused,
)

WALL_CLOCK = 1795771126
"""2026-11-27T09:18:46Z."""

NOW = 1000.0
"""Monotonic seconds at that time."""

STATUS = Status(
    node="vpnsrvA",
    uptime=93784.0,
    openvpn=[OpenVPNRow("openvpn", "connected", "2.6.14", 138)],
    peers=[
        PeerRow("vpnsrvB", "up", 137, 0.2, known_as="vpnsrvB"),
        PeerRow("vpnsrvC", "up", 137, 0.1, known_as="vpnsrvC"),
    ],
    routes=RouteCounts(274, 274, 0),
)
ILL = msgspec.structs.replace(
    STATUS,
    peers=[
        STATUS.peers[0],
        PeerRow(
            "vpnsrvC",
            "down",
            0,
            41.0,
            "nothing received for 3.0 s",
            known_as="vpnsrvC (10.200.200.9)",
        ),
    ],
    routes=RouteCounts(138, 137, 1),
    problems=["route 10.100.100.7/32: a foreign route carries its packets to eth0"],
)
AWAY = msgspec.structs.replace(
    STATUS,
    peers=[
        STATUS.peers[0],
        PeerRow(
            "vpnsrvC",
            "up",
            12,
            0.1,
            known_as="vpnsrvC",
            maintenance="draining",
            by="root",
            since=iso_time(WALL_CLOCK - 240),
            until=iso_time(WALL_CLOCK + 3360),
            reason="kernel update",
        ),
    ],
)
SERVICES = [
    ServiceRow(
        "db",
        "10.100.100.200",
        "single",
        ["vpnsrvB"],
        "vpnsrvB",
        True,
        [
            ServiceNodeRow("vpnsrvB", "holding", 100, "2026-11-27T08:00:00Z", "", False),
            ServiceNodeRow("vpnsrvA", "standby", 100, "", "", True),
            ServiceNodeRow("vpnsrvC", "unfit", 50, "", "the node is draining", False),
        ],
    ),
    ServiceRow(
        "frontend",
        "10.100.100.201",
        "single",
        [],
        None,
        True,
        [ServiceNodeRow("vpnsrvA", "unfit", 100, "", "check: no answer", True)],
        problems=["nobody has it; vpnsrvA is unfit (check: no answer)"],
    ),
]
EVENTS = [
    NodeStarted(version="0.1.0", control_socket="/run/cuberouted/control.sock"),
    ClientJoined(address="10.100.100.14", client="host13", to_node="vpnsrvB", routed_after=0.0021),
    PeerStateChanged(
        peer="vpnsrvC", known_as="vpnsrvC", old="down", new="up", why="snapshot received"
    ),
    ClientMoved(
        address="10.100.100.5",
        client="host4",
        from_node="vpnsrvB",
        to_node="vpnsrvC",
        since=WALL_CLOCK - 3,
        routed_after=0.0019,
    ),
    ClientLeft(address="10.100.100.3", client="host2", from_node="vpnsrvC"),
    ReloadRefused(
        why="/etc/cuberouted.conf:3: hold_time: '3 seconds' is not a valid duration"
        " (examples: 300ms, 3s, 5m)"
    ),
    ClientRenewed(address="10.100.100.8", client="host7", to_node="vpnsrvB", since=WALL_CLOCK - 1),
]


def client_row(number: int) -> ClientRow:
    """Client *number*: host0 has 10.100.100.1 at vpnsrvA, host1 10.100.100.2 at vpnsrvB, ...."""
    return ClientRow(
        address=f"10.100.{100 + number // 250}.{number % 250 + 1}",
        node=f"vpnsrv{'ABC'[number % 3]}",
        name=f"host{number}",
        kind="client",
        since=iso_time(WALL_CLOCK - 3600 - number * 977),
        local=number % 3 == 0,
    )


def snapshot(view: Watch, count: int = 412) -> None:
    """Let *view* show that many clients."""
    rows = map(client_row, range(count))
    view.mesh.finish_snapshot({row.address: client_of(row) for row in rows}, NOW - 100)


def watching(width: int, height: int, status: Status = STATUS, clients: int = 412) -> Watch:
    """A view of all that. The newer events are highlighted."""
    view = Watch(width, height)
    snapshot(view, clients)
    view.mesh.status = status
    for number, event in enumerate(EVENTS, 1):
        ago = 8 * (len(EVENTS) - number)
        time = dt.datetime.fromtimestamp(WALL_CLOCK - ago, dt.UTC)
        numbered = msgspec.structs.replace(event, number=number, time=time, node="vpnsrvA")
        view.mesh.receive(numbered, NOW - (50 if number < 4 else 1))
    return view


def press(view: Watch, *keys: str) -> None:
    """Press *keys*, none of which is an action."""
    for key in keys:
        assert view.press(key, NOW) is None
