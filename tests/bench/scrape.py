"""What a scrape of /metrics takes of the event loop, and for how long nothing else runs.

Daemons run in this process on a fake kernel, transport and OpenVPN; no root is needed.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median

import attrs
import trio

from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.exposition import exposition
from cuberouted.daemon.metrics_view import View
from cuberouted.util.tasks import run_trio
from tests.bench.figures import SPREAD, Table, distribution, ms
from tests.bench.loop_hold import WALL, Scene, client_address, measuring
from tests.fakes.mesh import Mesh


@attrs.frozen
class Size:
    """So many *scrapes* of each daemon, with *clients*, and one with each number of *peers*."""

    clients: int
    peers: tuple[int, ...]
    scrapes: int


FULL = Size(clients=20_000, peers=(50, 150), scrapes=200)
SMALL = Size(clients=500, peers=(3,), scrapes=3)


def measure(size: Size) -> list[Table]:
    """The table."""
    rows = run_trio(_with_clients, size)
    rows += [run_trio(_with_peers, count, size.scrapes) for count in size.peers]
    return [
        Table(
            f"Processor time of a scrape of /metrics, {size.scrapes} times",
            ("", *SPREAD, "longest step, median", "series", "size"),
            tuple(rows),
        )
    ]


def _row(what: str, daemon: Daemon, scrapes: int) -> tuple[str, ...]:
    took, longest = [], []
    for _ in range(scrapes):
        text, steps = b"", list[float]()
        began = time.thread_time()
        for metric in exposition(View.of(daemon)):
            text += metric
            steps.append(time.thread_time() - began - sum(steps))
        took.append(sum(steps))
        longest.append(max(steps))
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    kib = f"{len(text) / 1024:.0f} KiB"
    return what, *distribution(took), ms(median(longest)), str(series), kib


async def _with_clients(size: Size) -> list[tuple[str, ...]]:
    # `measuring` sets the garbage collector up as the daemon's process does
    count, found = size.clients, list[tuple[str, ...]]()
    with measuring(WALL) as meter:
        async with trio.open_nursery() as nursery:
            scene = Scene(nursery, meter)
            await scene.mesh.start()
            row = partial(_row, scrapes=size.scrapes)
            found.append(row("1 peer, no clients", scene.a.daemon))
            await scene.longest(partial(scene.list_clients, count), lambda: scene.routes == count)
            found.append(row(f"1 peer, {count:,} clients here", scene.a.daemon))
            found.append(row(f"1 peer, {count:,} clients there", scene.b.daemon))
            foreign = scene.b.daemon.foreign_routes
            await scene.longest(
                partial(_shadow, scene, count), lambda: len(foreign.cut_off) == count
            )
            found.append(row(f"and {count:,} foreign routes in the way", scene.b.daemon))
            nursery.cancel_scope.cancel()
    return found


async def _shadow(scene: Scene, count: int) -> None:
    """Another program has a route to each client on B."""
    for number in range(count):
        scene.kernel.add_route(f"{client_address(number)}/32", "tun0", metric=0)


async def _with_peers(peers: int, scrapes: int) -> tuple[str, ...]:
    with measuring(WALL):
        async with trio.open_nursery() as nursery:
            mesh = Mesh(nursery)
            for number in range(1 + peers):
                mesh.add(f"server{number}")
            await mesh.servers[0].start()
            row = _row(f"{peers} peers", mesh.servers[0].daemon, scrapes)
            nursery.cancel_scope.cancel()
    return row
