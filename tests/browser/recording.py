"""What the daemons of a simulated mesh serve to a page: snapshots, and the events in between."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import trio
from trio.testing import MockClock

from cuberouted.api.report import ClientRow, Clients
from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.snapshot import endpoints
from cuberouted.events import encode
from cuberouted.util.tasks import run_trio
from tests.fakes.api import get
from tests.simulation.faults import themes
from tests.simulation.plan import plan
from tests.simulation.run import Run

PAUSE = 3.0
"""Seconds between two snapshots on average."""

SETTLE_TIME = 60.0
"""Seconds after which nobody's departure is held back any more, which would make another event."""


@attrs.frozen
class Snapshot:
    """The clients, as they were served between the events ``begun`` and ``finished``."""

    begun: int
    clients: list[ClientRow]
    finished: int


@attrs.define
class Recording:
    """All ``events`` of a daemon, as JSON has them: event 1 is the first one."""

    daemon: Daemon
    snapshots: list[Snapshot] = attrs.field(factory=list)
    events: list[dict[str, Any]] = attrs.field(factory=list)

    async def take_snapshot(self) -> Snapshot:
        """Ask for the clients."""
        begun = self.daemon.events.last
        clients = (await get(endpoints(self.daemon), "/v1/clients", Clients)).clients
        self.snapshots.append(Snapshot(begun, clients, self.daemon.events.last))
        return self.snapshots[-1]


def record(seed: int) -> list[Recording]:
    """A recording of each daemon that ran to the end of a run; its last snapshot is the truth."""
    run = _RecordedRun(seed)
    run_trio(run.main, clock=MockClock(autojump_threshold=0))
    assert not run.world.failure
    return run.recordings


class _RecordedRun(Run):
    def __init__(self, seed: int) -> None:
        networks = {name: kinds for name, kinds in themes().items() if "networks" in name}
        super().__init__(plan(seed, networks), lambda _: None)
        self.recordings: list[Recording] = []
        self._is_complete = False  # the run goes on without clients that move

    async def _schedule(self, nursery: trio.Nursery) -> None:
        self.recordings = [Recording(node.server.daemon) for node in self.world.nodes]
        for recording in self.recordings:
            self.world.nursery.start_soon(self._take_snapshots, recording)
        await super()._schedule(nursery)

    async def _take_snapshots(self, recording: Recording) -> None:
        while not self._is_complete:
            await recording.take_snapshot()
            await trio.sleep(self.world.rng.expovariate(1 / PAUSE))

    async def _come_back(self) -> None:
        await super()._come_back()
        await trio.sleep(SETTLE_TIME)
        self._is_complete = True
        for recording in self.recordings:
            await recording.take_snapshot()
            ring = recording.daemon.events
            events = ring.after(0, ring.last)
            assert len(events) == ring.last
            recording.events = [msgspec.json.decode(encode(event)) for event in events]
