"""A mesh of real daemons on fakes, in another thread and in real time, with a web listener.

with WebMesh() as mesh:
    mesh.call(mesh["B"].connect, "host1", "10.100.100.11")
    urllib.request.urlopen(mesh.url)
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Self, TypeVar

import trio

from cuberouted.daemon.process import FINISH_TIME
from cuberouted.daemon.web import Web
from cuberouted.util.tasks import run_trio
from tests.fakes.mesh import Mesh
from tests.fakes.server import Server

T = TypeVar("T")


class WebMesh:
    """Servers; the first one has a web listener at ``url``.

    *settings* are lines of its configuration, *of_all* such of all servers. *services*: the lines
    of the section of each service on each server.
    """

    def __init__(
        self,
        *settings: str,
        of_all: Sequence[str] = (),
        names: Sequence[str] = "ABC",
        services: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    ) -> None:
        self._settings = settings
        self._services = services or {}
        self._of_all = of_all
        self._names = names
        self._port = _free_port()
        self._mesh: Mesh
        self._web: Web
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._listening = trio.CancelScope()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """The page."""
        return f"http://127.0.0.1:{self._port}/"

    def __getitem__(self, name: str) -> Server:
        return self._mesh[name]

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        if self._error is None:
            self.call(self._nursery.cancel_scope.cancel)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """What *function* returns, called among the daemons: none of them runs meanwhile."""
        return trio.from_thread.run_sync(function, *arguments, trio_token=self._token)

    def run(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """What the async *function* returns."""
        return trio.from_thread.run(function, *arguments, trio_token=self._token)

    def until(self, condition: Callable[[], bool], within: float = 30.0) -> None:
        """Wait until *condition* holds, in seconds."""
        trio.from_thread.run(self._mesh.until, condition, within, trio_token=self._token)

    def stop(self) -> None:
        """Stop the first daemon and its web listener, as the process does."""
        trio.from_thread.run(self._stop, trio_token=self._token)

    def start(self) -> None:
        """Start them again."""
        trio.from_thread.run(self._start, trio_token=self._token)

    def crash(self, name: str) -> None:
        """Kill a daemon."""
        trio.from_thread.run(self[name].crash, trio_token=self._token)

    @property
    def streams(self) -> int:
        """The number of streams that are open."""
        server = self._web._server
        return server.limits.streams if server is not None else 0

    def _run(self) -> None:
        try:
            run_trio(self._main)
        except BaseException as error:  # noqa: BLE001 - it is raised where the mesh is entered
            self._error = error
            self._ready.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._mesh = Mesh(self._nursery)
            for name in self._names:
                added = self._mesh.add(name, *self._of_all)
                for service, lines in self._services.items():
                    if name in lines:
                        added.services[service] = list(lines[name])
            listen = f"web_listen = 127.0.0.1:{self._port}"
            self._mesh.servers[0].settings += [listen, *self._settings]
            await self._mesh.start()
            self._listen()
            self._ready.set()
            await trio.sleep_forever()

    def _listen(self) -> None:
        self._web = Web(self._mesh.servers[0].daemon)
        self._listening = trio.CancelScope()
        self._nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        with self._listening:
            await self._web.run()

    async def _stop(self) -> None:
        first = self._mesh.servers[0]
        await first.stop()
        first.daemon.events.close()
        with trio.move_on_after(FINISH_TIME):
            await self._web.wait_idle()
        self._listening.cancel()

    async def _start(self) -> None:
        await self._mesh.servers[0].start()
        self._listen()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port
