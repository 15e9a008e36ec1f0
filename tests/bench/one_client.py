"""One client connects to A and leaves again: until B's kernel has its route, or has it no more."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from tests.bench.figures import SPREAD, Table, distribution, median, ms, ratio
from tests.bench.route_monitor import ADDED, DELETED
from tests.bench.sides import CONNECTED, GONE, Side, logged_at, side_by_side, trace
from tests.bench.traced import Mark, first, marks


@attrs.frozen
class Size:
    """*clients* connect and leave *rounds* times, then *traced_rounds* times with tracing."""

    clients: int
    rounds: int
    traced_rounds: int


FULL = Size(clients=10, rounds=10, traced_rounds=3)
SMALL = Size(clients=2, rounds=1, traced_rounds=1)

CONNECT, LEAVE = "connects on A -> route on B", "leaves A -> route on B gone"

Times = dict[str, list[tuple[float, float]]]
"""By what is measured: pairs of the time in OpenVPN's log and that of the notification."""


def measure(size: Size) -> list[Table]:
    """The tables."""
    with side_by_side(size.clients) as sides:
        times = rounds(sides, size.rounds)
        [ours] = [side for side in sides if side.name == "cuberouted"]
        trace(ours)
        [traced] = rounds([ours], size.traced_rounds).values()
        stages = _stages(traced, marks(ours.a.host), marks(ours.b.host))
    return [_compared(times), stages]


def rounds(sides: list[Side], count: int) -> dict[str, Times]:
    """Every client connects and leaves *count* times on each side, in turns."""
    times: dict[str, Times] = {side.name: {CONNECT: [], LEAVE: []} for side in sides}
    for number in range(count):  # who comes first has no advantage
        _round(sides[::-1] if number % 2 else sides, times)
    return times


def _round(sides: list[Side], times: Mapping[str, Times]) -> None:
    """Every client connects, in turns on each side; then all leave, in turns."""
    for number in range(len(sides[0].clients)):
        for side in sides:
            client, monitor = side.clients[number], side.monitors[1]
            monitor.reset()
            client.connect(side.a)
            installed = monitor.wait_route(ADDED, client.data)
            times[side.name][CONNECT].append((logged_at(side.a, client, CONNECTED), installed))
    for side in sides:
        side.monitors[1].reset()
    for number in range(len(sides[0].clients)):
        for side in sides:
            side.clients[number].leave()
    for side in sides:  # OpenVPN lists them for five seconds more
        for client in side.clients:
            removed = side.monitors[1].wait_route(DELETED, client.data)
            times[side.name][LEAVE].append((logged_at(side.a, client, GONE), removed))


def _compared(times: Mapping[str, Times]) -> Table:
    rows = []
    for what in (CONNECT, LEAVE):
        lags = {name: [end - begin for begin, end in t[what]] for name, t in times.items()}
        for name, lag in lags.items():
            of_bird = ratio(median(lag), median(lags["BIRD"])) if "BIRD" in lags else "-"
            rows.append((f"{what}: {name}", *distribution(lag), of_bird))
    count = len(times["cuberouted"][CONNECT])
    return Table(
        f"One client, {count} times",
        ("", *SPREAD, "median / BIRD's"),
        tuple(rows),
    )


def _stages(times: Times, on_a: list[Mark], on_b: list[Mark]) -> Table:
    connects, leaves = (
        [_split(*one, on_a, on_b) for one in times[what]] for what in (CONNECT, LEAVE)
    )
    rows = [
        (
            stage,
            ms(median([one[stage] for one in connects])),
            ms(median([one[stage] for one in leaves])),
        )
        for stage in connects[0]
    ]
    return Table("Where cuberouted's time goes (medians)", ("", "connect", "leave"), tuple(rows))


def _split(begin: float, end: float, on_a: list[Mark], on_b: list[Mark]) -> dict[str, float]:
    update = first(on_a, "update_local", begin)
    publish = first(on_a, "publish", update)
    received = first(on_b, "update_peer", publish)
    apply = first(on_b, "apply", received)
    return {
        "event: OpenVPN writes it -> A has read it": update - begin,
        "publish: A decides and passes it to ZeroMQ": publish - update,
        "receive: until B has received it": received - publish,
        "decide: B's RIB and FIB": apply - received,
        "install: B's kernel, until its notification": end - apply,
    }
