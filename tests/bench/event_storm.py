"""cuberouted with a storm of events: `python -m tests.bench.event_storm CONFIG` runs the daemon.

While the file STORM is there, it publishes as many events a second as that says: half of them
changes of routes, half clients that roam, which are logged as well.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import trio

from cuberouted.daemon.daemon import Daemon
from cuberouted.events import ClientMoved, Event, RouteChanged, RouteTrace

STORM = "/run/storm"
INTERVAL = 0.01


def _event(number: int) -> Event:
    address, name = f"10.64.{number >> 8 & 255}.{number & 255}", f"host{number & 65535}"
    if number % 2:
        return RouteChanged(address=address, trace=RouteTrace.MOVED, via="server2")
    return ClientMoved(
        address=address,
        client=name,
        from_node="server2",
        to_node="server3",
        since=1_795_222_140,
        routed_after=0.0015,
    )


async def _storm(daemon: Daemon) -> None:
    file, numbers = Path(STORM), itertools.count()
    while True:
        await trio.sleep(INTERVAL)
        if not file.exists():  # noqa: ASYNC240 - in memory
            continue
        rate, began, published = int(file.read_text()), trio.current_time(), 0  # noqa: ASYNC240
        while file.exists():  # noqa: ASYNC240
            due = int(rate * (trio.current_time() - began))
            for number in itertools.islice(numbers, due - published):
                daemon.events.publish(_event(number))
            published = due
            await trio.sleep(INTERVAL)


def install() -> None:
    """Let every daemon of this process make a storm on demand."""
    run = Daemon.run

    async def run_with_storm(self: Daemon, **kwargs: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_storm, self)
            await run(self, **kwargs)
            nursery.cancel_scope.cancel()

    Daemon.run = run_with_storm  # type: ignore[method-assign]


def main(path: str) -> int:
    """Run the daemon. Returns its exit status."""
    from cuberouted.config import load
    from cuberouted.daemon.process import run_daemon

    install()
    return run_daemon(load(Path(path)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
