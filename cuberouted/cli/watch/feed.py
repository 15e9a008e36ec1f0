"""Keeps what is known of the mesh up to date: from the daemon's events, snapshots and status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from cuberouted.api import client
from cuberouted.api.protocol import ControlError, NotRunningError
from cuberouted.api.report import Clients, Status
from cuberouted.api.report_services import Services
from cuberouted.cli.monitor import decode
from cuberouted.cli.watch.mesh import Client, client_of
from cuberouted.cli.watch.model import Watch
from cuberouted.events import Event, EventsLost
from cuberouted.util.tasks import run_in_thread

T = TypeVar("T")
Task = Callable[[], Awaitable[None]]

STATUS_INTERVAL = 2.0
"""Seconds between two looks at the daemon's status."""

FIRST_RETRY, LAST_RETRY = 0.5, 10.0
"""Seconds until the next attempt to reach the daemon: the first, and at most."""

SNAPSHOT_INTERVAL = 3.0
"""Seconds between two snapshots at least, however often events are lost."""

SLICE = 500
"""Clients or events that are converted at once: about a millisecond."""


class Feed:
    """Reads from the daemon behind *socket* into *view*. *changed* is called after each change."""

    def __init__(self, socket: Path, view: Watch, changed: Callable[[], None]) -> None:
        self._socket = socket
        self._view = view
        self._changed = changed
        self._lost = trio.Event()
        self._why = ""

    async def run(self) -> None:
        """Follow the daemon, for ever. If it is not running, wait for it."""
        delay = FIRST_RETRY
        while True:
            await self._guard(self._follow)
            if not self._view.trouble:  # it had been reached
                delay = FIRST_RETRY
            self._view.trouble = f"{self._why}; trying again"
            self._changed()
            await trio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY)

    async def _guard(self, task: Task, scope: trio.CancelScope | None = None) -> None:
        """Do *task*. If the daemon cannot be reached, note why, and cancel *scope*."""
        try:
            await task()
        except NotRunningError:
            self._why = "cuberouted is not running"
        except ControlError as error:
            self._why = str(error)
        if scope is not None:
            scope.cancel()

    async def _follow(self) -> None:
        """Read everything, then what happens. Raises ControlError, or ends with the daemon."""
        last = await self._read_history()
        path = f"/v1/events?after={last}&level=info"
        async with client.open_lines(self._socket, path) as lines, trio.open_nursery() as nursery:
            for task in (self._refresh_clients, self._refresh_status, partial(self._read, lines)):
                nursery.start_soon(self._guard, task, nursery.cancel_scope)

    async def _read(self, lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            self._receive(decode(line))
        raise NotRunningError

    async def _read_history(self) -> int:
        """Read the kept events. Return the number of the last one."""
        events: list[Event] = []
        async with client.open_lines(
            self._socket, "/v1/events?after=0&follow=0&level=info"
        ) as lines:
            async for line in lines:
                events.append(decode(line))
                if len(events) % SLICE == 0:
                    await trio.lowlevel.checkpoint()
        self._view.mesh.restart(events)
        return events[-1].number if events else 0

    def _receive(self, event: Event) -> None:
        self._view.mesh.receive(event, trio.current_time())
        if isinstance(event, EventsLost):
            self._lost.set()
        self._changed()

    async def _refresh_clients(self) -> None:
        """Read all clients: now, and whenever events were lost."""
        while True:
            self._lost = trio.Event()
            self._view.mesh.begin_snapshot()
            reply = await self._get("/v1/clients", Clients)
            found: dict[str, Client] = {}
            for start in range(0, len(reply.clients), SLICE):
                for row in reply.clients[start : start + SLICE]:
                    found[row.address] = client_of(row)
                await trio.lowlevel.checkpoint()
            self._view.mesh.finish_snapshot(found, trio.current_time())
            self._changed()
            await trio.sleep(SNAPSHOT_INTERVAL)
            await self._lost.wait()

    async def _refresh_status(self) -> None:
        while True:
            self._view.mesh.status = await self._get("/v1/status", Status)
            self._view.mesh.services = (await self._get("/v1/services", Services)).services
            self._view.trouble = ""
            self._changed()
            await trio.sleep(STATUS_INTERVAL)

    async def _get(self, path: str, kind: type[T]) -> T:
        # in a thread: the reply is read and decoded without a pause for the keys
        return await run_in_thread(client.get, self._socket, path, kind)
