"""How long the daemon keeps its event loop from everything else: the longest step of any task.

While one task computes, nothing else runs: no heartbeat is sent and none is received. Two real
daemons run in this process, on a fake kernel, transport and OpenVPN and by the real clock; no
root is needed. Only steps of the daemons' own tasks count, without the time that the fake
kernel's answers take.
"""

from __future__ import annotations

import contextlib
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path

import attrs
import trio
import trio.testing

from cuberouted.api.http_server import HttpServer
from cuberouted.api.server import listening, serve
from cuberouted.daemon.web import web_endpoints
from cuberouted.model import Prefix
from cuberouted.routing.types import Change, ForeignRoute, KernelState
from cuberouted.util import heap
from cuberouted.util.tasks import run_trio
from tests.bench.figures import Table, ms
from tests.fakes.mesh import Mesh
from tests.fakes.openvpn import FakeOpenVPN
from tests.fakes.openvpn_listing import Client, rows
from tests.fakes.server import RUNS_ON, RecordingKernel, Server

ALLOWED, NARROWER = "10.64.0.0/10, 10.100.100.0/24", "10.64.0.0/24, 10.100.100.0/24"
"""allowed_networks: every client, and the first 256 of them."""

AROUND = "10.64.0.0/11"
"""A network around every client, and around no server."""

SETTINGS = (
    f"allowed_networks = {ALLOWED}",
    "max_advertisements = 200000",
    "poll_interval = 100ms",
    "hold_time = 60s",  # the fakes hold the loop, too
)

QUESTIONS = {
    "`cuberouted status`": "/v1/status",
    "`cuberouted clients`": "/v1/clients",
    "`cuberouted clients --name`": "/v1/clients?name=client1*",
    "`cuberouted dump-routes`": "/v1/routes",
    "`cuberouted nodes`": "/v1/nodes",
    "`cuberouted why`": "/v1/why/client5",
    "`cuberouted history`": "/v1/events?after=0&follow=0",
    "a scrape of `/metrics`": "/metrics",
}
"""What the commands and Prometheus ask the daemon for."""

QUIET_TIME = 0.05
"""Seconds without a runnable task after which what was caused is taken to be over."""

TIMEOUT = 120.0


@attrs.frozen
class Size:
    """Numbers of clients."""

    clients: tuple[int, ...]


FULL = Size(clients=(20_000, 100_000))
SMALL = Size(clients=(1_000,))


@attrs.frozen
class Step:
    """One uninterrupted step of a task. Seconds.

    ``wall``: by the clock. ``cpu``: processor time of it. ``collecting``: of ``wall``, spent in
    the garbage collector. ``until``: the function of cuberouted that ended it by waiting.
    """

    wall: float = 0.0
    cpu: float = 0.0
    collecting: float = 0.0
    until: str = "-"


WALL, CPU = attrgetter("wall"), attrgetter("cpu")


class StepMeter(trio.abc.Instrument):
    """Finds each daemon's longest step. Install it with `measuring`.

    ``by``: what a step's length is. On a busy machine ``cpu`` means more than ``wall``.
    """

    def __init__(self, by: Callable[[Step], float]) -> None:
        self.by = by
        self._longest: dict[str, Step] = {}
        self._wall = self._cpu = 0.0
        self._collecting = self._collection_began = 0.0

    def reset(self) -> None:
        """Forget the steps so far."""
        self._longest.clear()

    def longest(self, node: str) -> Step:
        """The longest step of the daemon on *node* since `reset`."""
        return self._longest.get(node, Step())

    def exclude(self, wall: float, cpu: float) -> None:
        """So much of the current step is not the daemon's own."""
        self._wall += wall
        self._cpu += cpu

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        self._collecting = 0.0
        self._cpu = time.thread_time()
        self._wall = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        node = task.context.get(RUNS_ON)
        if node is None:
            return
        wall, cpu = time.perf_counter() - self._wall, time.thread_time() - self._cpu
        step = Step(wall, cpu, self._collecting)
        if self.by(step) > self.by(self.longest(node)):
            self._longest[node] = attrs.evolve(step, until=_where(task))

    def collects(self, phase: str, _info: object) -> None:
        """A callback for `gc.callbacks`."""
        now = time.perf_counter()
        if phase == "start":
            self._collection_began = now
        else:
            self._collecting += now - self._collection_began


def _where(task: trio.lowlevel.Task) -> str:
    """The innermost function of cuberouted that *task* waits in; its own name, once it ended."""
    found = task.name.removeprefix("cuberouted.")
    awaited: object = task.coro
    while awaited is not None:
        code = getattr(awaited, "cr_code", None)
        if code is not None and "/cuberouted/" in code.co_filename:
            found = f"{Path(code.co_filename).stem}.{code.co_qualname}"
        awaited = getattr(awaited, "cr_await", None)
    return found


@contextlib.contextmanager
def measuring(by: Callable[[Step], float]) -> Iterator[StepMeter]:
    """A meter that is at work; the garbage collector is set up as the daemon's process has it."""
    meter, threshold = StepMeter(by), gc.get_threshold()
    gc.collect()
    heap.configure()
    gc.callbacks.append(meter.collects)
    trio.lowlevel.add_instrument(meter)
    try:
        yield meter
    finally:
        trio.lowlevel.remove_instrument(meter)
        gc.callbacks.remove(meter.collects)
        gc.set_threshold(*threshold)
        gc.unfreeze()


class UnmeasuredKernel(RecordingKernel):
    """Keeps its own time off the meter: a real kernel spends that elsewhere."""

    def __init__(self, meter: StepMeter, table: int) -> None:
        super().__init__(table)
        self.dumps = 0
        self._meter = meter
        self._began = 0.0, 0.0

    async def dump(self) -> KernelState:
        """See `KernelApi`."""
        found = await super().dump()
        self.dumps += 1
        self._exclude_answer()
        return found

    async def foreign_routes(
        self, wanted: Callable[[ForeignRoute], bool]
    ) -> tuple[ForeignRoute, ...]:
        """See `KernelApi`."""
        found = await super().foreign_routes(wanted)
        self._exclude_answer()
        return found

    async def routes_through(self, device: int) -> tuple[Prefix, ...]:
        """See `KernelApi`."""
        found = await super().routes_through(device)
        self._exclude_answer()
        return found

    async def _attend(self) -> None:
        await super()._attend()
        self._began = time.perf_counter(), time.thread_time()

    def _make(self, change: Change) -> int:
        self._began = time.perf_counter(), time.thread_time()
        number = super()._make(change)
        self._exclude_answer()
        return number

    def _exclude_answer(self) -> None:
        wall, cpu = self._began
        self._meter.exclude(time.perf_counter() - wall, time.thread_time() - cpu)


class ManyClients(FakeOpenVPN):
    """Makes its listing once after each change, when nobody is waiting for it."""

    listing = b""

    def appear(self, count: int) -> None:
        """So many clients are there, in place of those before; none of them is announced."""
        now = int(self._wall())
        self.clients = {
            cid: Client(
                cid, b"client%d" % cid, client_address(cid).encode(), now, real=real_address(cid)
            )
            for cid in range(count)
        }
        self.listing = b"".join(row + b"\r\n" for row in rows("2.6", self.clients.values()))

    def _command(self, line: bytes) -> None:
        if line == b"status 3":
            self.say(self.listing)
        else:
            super()._command(line)


def client_address(number: int) -> str:
    """Its address: all are in 10.64.0.0/10."""
    return f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def real_address(number: int) -> tuple[bytes, int]:
    """Where it connects from."""
    return b"192.0.2.%d" % (number >> 14), 1024 + (number & 0x3FFF)


class Scene:
    """Servers A, which the clients are connected to, and B; both up."""

    def __init__(self, nursery: trio.Nursery, meter: StepMeter) -> None:
        self.meter = meter
        self.nursery = nursery
        self.mesh = Mesh(nursery)
        self.mesh.kernel_type = partial(UnmeasuredKernel, meter)
        self.a, self.b = self.mesh.add("A", *SETTINGS), self.mesh.add("B", *SETTINGS)
        self.openvpn = ManyClients(wall=self.a.wall_clock)
        self.openvpn.appear(0)
        self.a.openvpns[""] = self.openvpn
        nursery.start_soon(self.openvpn.run)
        nursery.start_soon(_as_part_of, self.a, heap.keep_collections_short)

    async def longest(
        self, cause: Callable[[], Awaitable[object]], done: Callable[[], bool] = lambda: True
    ) -> tuple[Step, Step]:
        """A's and B's longest steps, from *cause* on until all that it causes is over."""
        await _settled()
        gc.collect()
        self.meter.reset()
        await cause()
        await self.mesh.until(done, TIMEOUT)
        await _settled()
        return self.meter.longest("A"), self.meter.longest("B")

    async def list_clients(self, count: int) -> None:
        """From A's next listing on it has so many clients."""
        self.openvpn.appear(count)

    async def lose_an_update(self, count: int) -> None:
        """B misses an update, and asks A for a snapshot."""
        self.mesh.network.lose(self.a.address, self.b.address, 1)
        self.openvpn.appear(count)

    async def ask(self, question: str) -> None:
        """Somebody asks B, which serves on this socket what its web listener has."""
        with tempfile.TemporaryDirectory() as directory, listening(Path(directory, "s")) as control:
            async with trio.open_nursery() as nursery:
                events = self.b.daemon.events
                endpoints = web_endpoints(self.b.daemon)
                server = HttpServer(endpoints, events.publish, "control socket")
                nursery.start_soon(_as_part_of, self.b, serve, control, server)
                async with await trio.open_unix_socket(Path(directory, "s")) as stream:
                    request = f"GET {question} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                    await stream.send_all(request.encode())
                    received = [bytes(data) async for data in stream]
                assert received[0].startswith(b"HTTP/1.1 200"), received
                nursery.cancel_scope.cancel()

    async def reload(self, allowed: str) -> None:
        """A and B get other allowed_networks."""
        async with trio.open_nursery() as nursery:
            for server in (self.a, self.b):
                server.settings[0] = f"allowed_networks = {allowed}"
                nursery.start_soon(_as_part_of, server, server.reload)

    async def claim_around(self) -> None:
        """A client of B has a network in which all clients of A are."""
        self.b.openvpn.connect(b"wide", b"10.100.100.200", networks=(AROUND.encode(),))

    async def give_up_around(self) -> None:
        """It disconnects."""
        self.b.openvpn.disconnect(0)

    async def lose_notifications(self) -> None:
        """B's kernel has lost notifications, so that everything has to be read."""
        self.b.kernel.lose_notices()

    @property
    def kernel(self) -> UnmeasuredKernel:
        """B's."""
        assert isinstance(self.b.kernel, UnmeasuredKernel)
        return self.b.kernel

    @property
    def routes(self) -> int:
        """How many routes to clients B has."""
        return max(0, self.b.daemon.node.kernel_sync.fib.installed_count - 1)


async def _as_part_of(
    server: Server, function: Callable[..., Awaitable[object]], *args: object
) -> None:
    RUNS_ON.set(server.name)
    await function(*args)


async def _settled() -> None:
    await trio.testing.wait_all_tasks_blocked(QUIET_TIME)


async def longest_steps(clients: int, by: Callable[[Step], float] = WALL) -> dict[str, Step]:
    """The longest step at each occasion, with so many clients."""
    with measuring(by) as meter:
        async with trio.open_nursery() as nursery:
            scene = Scene(nursery, meter)
            await scene.mesh.start()
            found = await _occasions(scene, clients)
            nursery.cancel_scope.cancel()
    return found


async def _occasions(scene: Scene, clients: int) -> dict[str, Step]:
    def routes(count: int) -> Callable[[], bool]:
        return lambda: scene.routes == count

    appear = await scene.longest(partial(scene.list_clients, clients), routes(clients))
    leaves = await scene.longest(partial(scene.list_clients, clients - 1), routes(clients - 1))
    snapshot = await scene.longest(partial(scene.lose_an_update, clients), routes(clients))
    replies = {
        who: (await scene.longest(partial(scene.ask, question)))[1]
        for who, question in QUESTIONS.items()
    }
    narrows = await scene.longest(partial(scene.reload, NARROWER), routes(min(clients, 256)))
    widens = await scene.longest(partial(scene.reload, ALLOWED), routes(clients))
    fib = scene.a.daemon.node.kernel_sync.fib
    around = await scene.longest(scene.claim_around, lambda: fib.installed_count == 1 + 2 + clients)
    not_around = await scene.longest(scene.give_up_around, lambda: fib.installed_count == 1)
    dumps = scene.kernel.dumps
    rescan = await scene.longest(scene.lose_notifications, lambda: scene.kernel.dumps > dumps)
    lost = await scene.longest(scene.a.stop, routes(0))
    returns = await scene.longest(scene.a.start, routes(clients))
    leave = await scene.longest(partial(scene.list_clients, 0), routes(0))
    return {
        "clients appear in a listing: their server": appear[0],
        "clients appear in a listing: a peer": appear[1],
        "a listing lacks one of them: their server": leaves[0],
        "a snapshot is sent": snapshot[0],
        "a snapshot is received": snapshot[1],
        **replies,
        "allowed_networks narrows": max(narrows, key=scene.meter.by),
        "allowed_networks widens": max(widens, key=scene.meter.by),
        "a peer has a network around all clients here": around[0],
        "it goes": not_around[0],
        "the kernel is read again": rescan[1],
        "the peer with all clients is lost": lost[1],
        "that peer returns": returns[1],
        "all clients leave: their server": leave[0],
        "all clients leave: a peer": leave[1],
    }


def measure(size: Size) -> list[Table]:
    """The table."""
    found = {clients: run_trio(longest_steps, clients) for clients in size.clients}
    occasions = list(found[size.clients[0]])
    head = ["while"]
    for clients in size.clients:
        head += [f"{clients:,} clients", "garbage collection in it"]
    return [
        Table(
            "The longest uninterrupted step of any task",
            (*head, "ended by waiting in"),
            tuple(
                (
                    occasion,
                    *(
                        ms(seconds)
                        for steps in found.values()
                        for seconds in (steps[occasion].wall, steps[occasion].collecting)
                    ),
                    f"`{found[size.clients[-1]][occasion].until}`",
                )
                for occasion in occasions
            ),
        )
    ]
