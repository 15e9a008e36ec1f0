"""One client connects on A and leaves again: when B's kernel has its route, and has it no more."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from tests.bench.figures import SPREAD, Table, distribution, median, ms, ratio
from tests.bench.route_monitor import ADDED, DELETED
from tests.bench.sides import CONNECTED, GONE, Side, said_at, side_by_side, trace
from tests.bench.traced import Mark, first, marks


@attrs.frozen
class Size:
    """So many clients, which come and go so often; and once more with marks."""

    clients: int
    rounds: int
    marked: int


FULL = Size(clients=10, rounds=10, marked=3)
SMALL = Size(clients=2, rounds=1, marked=1)

CONNECT, LEAVE = "connects on A -> route on B", "leaves A -> route on B gone"

Times = dict[str, list[tuple[float, float]]]
"""For each thing measured: when OpenVPN said it, and when the kernel followed."""


def measure(size: Size) -> list[Table]:
    """The tables."""
    with side_by_side(size.clients) as sides:
        times = _rounds(sides, size.rounds)
        [ours] = [side for side in sides if side.name == "cuberouted"]
        trace(ours)
        [marked] = _rounds([ours], size.marked).values()
        stages = _stages(marked, marks(ours.a.host), marks(ours.b.host))
    return [_compared(times), stages]


def _rounds(sides: list[Side], count: int) -> dict[str, Times]:
    times: dict[str, Times] = {side.name: {CONNECT: [], LEAVE: []} for side in sides}
    for _ in range(count):
        _round(sides, times)
    return times


def _round(sides: list[Side], times: Mapping[str, Times]) -> None:
    """Every client comes, in turns on each side; then all leave, in turns."""
    for number in range(len(sides[0].clients)):
        for side in sides:
            client, ear = side.clients[number], side.ears[1]
            ear.forget()
            client.connect(side.a)
            heard = ear.wait_route(ADDED, client.data)
            times[side.name][CONNECT].append((said_at(side.a, client, CONNECTED), heard))
    for side in sides:
        side.ears[1].forget()
    for number in range(len(sides[0].clients)):
        for side in sides:
            side.clients[number].leave()
    for side in sides:  # OpenVPN lists them for five seconds more
        for client in side.clients:
            heard = side.ears[1].wait_route(DELETED, client.data)
            times[side.name][LEAVE].append((said_at(side.a, client, GONE), heard))


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
    came, went = ([_split(*one, on_a, on_b) for one in times[what]] for what in (CONNECT, LEAVE))
    rows = [
        (stage, ms(median([one[stage] for one in came])), ms(median([one[stage] for one in went])))
        for stage in came[0]
    ]
    return Table("Where cuberouted's time goes (medians)", ("", "connect", "leave"), tuple(rows))


def _split(begin: float, end: float, on_a: list[Mark], on_b: list[Mark]) -> dict[str, float]:
    news = first(on_a, "news", begin)
    publish = first(on_a, "publish", news)
    heard = first(on_b, "heard", publish)
    apply = first(on_b, "apply", heard)
    return {
        "event: OpenVPN writes it -> A has read it": news - begin,
        "publish: A decides and passes it to ZeroMQ": publish - news,
        "receive: until B has received it": heard - publish,
        "decide: B's RIB and FIB": apply - heard,
        "install: B's kernel, until its notification": end - apply,
    }
