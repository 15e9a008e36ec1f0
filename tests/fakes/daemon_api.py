"""A daemon as its API shows it: a control socket of the real server, and events on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import msgspec
import trio

from cuberouted.api.http import Endpoint, HttpError, Parts, Reply, Request
from cuberouted.api.http_server import HttpServer
from cuberouted.api.report import ClientRow, Clients, Status
from cuberouted.api.report_services import ServiceRow, Services
from cuberouted.api.report_why import Why
from cuberouted.api.server import listening, serve
from cuberouted.daemon import event_stream
from cuberouted.daemon.process import FINISH_TIME
from cuberouted.event_ring import EventRing
from cuberouted.events import Event
from cuberouted.util.tasks import run_trio


@attrs.define
class FakeDaemon:
    """A daemon in another thread. What it replies with may change at any time."""

    socket: Path
    status: Status
    clients: list[ClientRow] = attrs.field(factory=list)
    services: list[ServiceRow] = attrs.field(factory=list)
    why: dict[str, Why] = attrs.field(factory=dict)
    kept: int = 10000
    readers: int = 0
    _token: trio.lowlevel.TrioToken | None = None
    _ring: EventRing | None = None
    _end: trio.Event = attrs.field(factory=trio.Event)

    @contextmanager
    def running(self) -> Iterator[FakeDaemon]:
        """It runs, in another thread."""
        ready = threading.Event()
        self.readers = 0
        self._end = trio.Event()

        async def run() -> None:
            self._token = trio.lowlevel.current_trio_token()
            self._ring = EventRing(self.status.node, self.kept, time.time)
            server = HttpServer(self._endpoints(), emit=self._ring.publish, what="control socket")
            with listening(self.socket) as listener:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(serve, listener, server)
                    ready.set()
                    await self._end.wait()
                    self._ring.close()  # as the process does: streams end after their last event
                    with trio.move_on_after(FINISH_TIME):
                        await server.wait_idle()
                    nursery.cancel_scope.cancel()

        thread = threading.Thread(target=run_trio, args=(run,))
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            with suppress(trio.RunFinishedError):  # a test has stopped it
                self.stop()
            thread.join()

    def stop(self) -> None:
        """End, after everything that was emitted has been sent."""
        self._call(self._end.set)

    def emit(self, *happened: Event) -> None:
        """Publish what has happened."""
        for event in happened:
            self._call(lambda event=event: self._published.publish(event))  # type: ignore[misc]

    @property
    def _published(self) -> EventRing:
        assert self._ring is not None
        return self._ring

    def _call(self, function: Callable[[], None]) -> None:
        assert self._token is not None
        self._token.run_sync_soon(function)

    def _endpoints(self) -> list[Endpoint]:
        async def get_status(_request: Request) -> Status:
            return self.status

        async def get_clients(_request: Request) -> Clients:
            return Clients(list(self.clients))

        async def get_services(_request: Request) -> Services:
            return Services(self.status.node, list(self.services))

        stream = event_stream.endpoint(self._published)

        async def get_events(request: Request) -> msgspec.Struct | Reply | Parts:
            self.readers += request.query.get("follow") != "0"
            return await stream.handler(request)

        async def get_why(request: Request) -> Why:
            if request.argument not in self.why:
                raise HttpError(404, f"nothing is known of {request.argument}")
            return self.why[request.argument]

        return [
            Endpoint("GET", "/v1/status", get_status),
            Endpoint("GET", "/v1/clients", get_clients),
            Endpoint("GET", "/v1/services", get_services),
            Endpoint("GET", "/v1/why/{target}", get_why),
            attrs.evolve(stream, handler=get_events),
        ]
