"""A fake OpenVPN, and a real ManagementSource connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from cuberouted.config import OpenVPNConfig
from cuberouted.events import Event
from cuberouted.model import LocalRoute, Prefix, SupersededSession
from cuberouted.openvpn.management_source import ManagementSource
from cuberouted.openvpn.polling import CONFIRM_DELAY, PollIntervals
from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from tests.fakes.openvpn import FakeOpenVPN

HOLD_TIME = 3.0
INTERVALS = PollIntervals(poll_interval=1.0, status_interval=30.0, hold_time=HOLD_TIME)


def config(
    pass_file: Path | None = None, status_file: Path | None = None, *, shared: bool = False
) -> OpenVPNConfig:
    return OpenVPNConfig(
        name="",
        data_interface="tun0",
        mgmt_host=None,
        mgmt_port=5656,
        mgmt_socket=None,
        mgmt_pass_file=pass_file,
        mgmt_shared=shared,
        status_file=status_file,
    )


@attrs.define
class Recorder:
    """The updates and events received, and the routes they add up to.

    ``at``: time of the last update.
    """

    routes: dict[Prefix, LocalRoute] = attrs.field(factory=dict)
    updates: list[SessionUpdate] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)
    at: float = 0.0
    changed: trio.Event = attrs.field(factory=trio.Event)

    async def on_update(self, update: SessionUpdate) -> None:
        await trio.lowlevel.checkpoint()
        self.updates.append(update)
        for prefix in update.withdrawn:
            del self.routes[prefix]
        self.routes |= {route.prefix: route for route in update.routes}
        self.at = trio.current_time()
        self.changed.set()
        self.changed = trio.Event()

    @property
    def sentences(self) -> list[str]:
        """The events for people."""
        return [str(event) for event in self.events]

    @property
    def complete(self) -> bool:
        """Whether a complete listing has confirmed the routes."""
        return bool(self.updates) and self.updates[-1].complete

    @property
    def names(self) -> dict[str, bytes]:
        """The common name of each prefix."""
        return {str(prefix): route.name for prefix, route in self.routes.items()}


@attrs.frozen
class Watched:
    """``openvpn``, the ``source`` connected to it, and what it has sent."""

    openvpn: FakeOpenVPN
    source: ManagementSource
    recorder: Recorder

    def supersede(self, address: str) -> None:
        """The session at *address* is superseded by one on another server."""
        route = self.recorder.routes[Prefix.parse(address)]
        lost = SupersededSession(route.prefix, route.name, route.session, "vpnsrvB")
        self.source.set_superseded(frozenset({lost}))

    @property
    def kills(self) -> list[bytes]:
        """The commands received that end a session."""
        return [line for line in self.openvpn.asked if line.startswith((b"kill", b"client-kill"))]


@asynccontextmanager
async def watched(
    openvpn: FakeOpenVPN,
    *,
    pass_file: Path | None = None,
    running: bool = True,
    shared: bool = False,
) -> AsyncIterator[Watched]:
    """A running source that has settled."""
    recorder = Recorder()
    source = ManagementSource(
        config(pass_file, shared=shared),
        Sessions(""),
        intervals=INTERVALS,
        dialer=openvpn,
        on_update=recorder.on_update,
        emit=recorder.events.append,
    )
    async with trio.open_nursery() as nursery:
        if running:
            nursery.start_soon(openvpn.run)
        async with trio.open_nursery() as source_nursery:
            source_nursery.start_soon(source.run)
            await settle()
            yield Watched(openvpn, source, recorder)
            source_nursery.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def settle() -> None:
    """Wait until all updates are sent, and confirmed by a listing."""
    await wait_all_tasks_blocked()
    await trio.sleep(CONFIRM_DELAY)
    await wait_all_tasks_blocked()


async def until(condition: Callable[[], bool]) -> None:
    """Until a condition holds; the test's clock runs meanwhile, for an hour at most."""
    for _ in range(360_000):
        if condition():
            return
        await trio.sleep(0.01)
    raise AssertionError("waited for an hour")
