"""A client moves to the other server while the old one still lists its dead session."""

from __future__ import annotations

import attrs

from tests.bench.figures import SPREAD, Table, distribution
from tests.bench.route_monitor import ADDED, DELETED, device_index
from tests.bench.sides import CONNECTED, Side, logged_at, side_by_side
from tests.lab.client import Client
from tests.lab.server import Server


@attrs.frozen
class Size:
    """*clients* roam *moves* times each; with BIRD once."""

    clients: int
    moves: int
    with_bird: bool = True


FULL = Size(clients=10, moves=6)
SMALL = Size(clients=1, moves=1, with_bird=False)


def measure(size: Size) -> list[Table]:
    """The table."""
    with side_by_side(size.clients) as sides:
        rows = []
        for side in sides:
            if side.name == "cuberouted":
                rows.append((side.name, *distribution(_roam(side, size.moves))))
            elif size.with_bird:
                rows.append((side.name, *distribution(_roam_once(side))))
    times = size.clients * size.moves
    return [
        Table(
            f"A client roams, {times} times (with BIRD {size.clients})",
            ("connected to the new server -> the old one routes to it", *SPREAD),
            tuple(rows),
            ("`keepalive 2 10` in OpenVPN's configuration lets it list a dead session for 20 s.",),
        )
    ]


def _roam(side: Side, moves: int) -> list[float]:
    for client in side.clients:
        client.connect(side.a)
    old, new = side.a, side.b
    lags = []
    for _ in range(moves):
        lags += [_move(side, client, old, new) for client in side.clients]
        old, new = new, old
    return lags


def _move(side: Side, client: Client, old: Server, new: Server) -> float:
    monitor = side.monitor(old)
    monitor.reset()
    client.roam(new)
    installed = monitor.wait_route(ADDED, client.data, side.towards(new))
    return installed - logged_at(new, client, CONNECTED)


def _roam_once(side: Side) -> list[float]:
    """With BIRD: the route that the old server's script added wins until OpenVPN removes it."""
    for client in side.clients:
        client.connect(side.a)
    monitor, tun0 = side.monitors[0], device_index(side.a.host, "tun0")
    monitor.reset()
    for client in side.clients:
        client.roam(side.b)
    lags = []
    for client in side.clients:
        monitor.wait_route(ADDED, client.data, side.towards(side.b))
        gone = monitor.wait_route(DELETED, client.data, tun0)
        lags.append(gone - logged_at(side.b, client, CONNECTED))
    return lags
