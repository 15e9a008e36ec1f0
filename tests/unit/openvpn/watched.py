"""A fake OpenVPN with a real watcher on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from cuberouted.config import OpenVPNConfig
from cuberouted.model import LocalRoute, Prefix, SupersededSession
from cuberouted.openvpn.management_source import ManagementSource
from cuberouted.openvpn.polling import CONFIRM_DELAY, PollIntervals
from cuberouted.openvpn.sessions import SessionUpdate
from tests.fakes.openvpn import FakeOpenVPN

HOLD_TIME = 3.0
INTERVALS = PollIntervals(poll_interval=1.0, status_interval=30.0, hold_time=HOLD_TIME)


def config(pass_file: Path | None = None, status_file: Path | None = None) -> OpenVPNConfig:
    return OpenVPNConfig(
        name="",
        data_interface="tun0",
        mgmt_host=None,
        mgmt_port=5656,
        mgmt_socket=None,
        mgmt_pass_file=pass_file,
        status_file=status_file,
    )


@attrs.define
class Told:
    """What on_news has told, added up. ``at``: when the last of it came."""

    claims: dict[Prefix, LocalRoute] = attrs.field(factory=dict)
    news: list[SessionUpdate] = attrs.field(factory=list)
    at: float = 0.0
    changed: trio.Event = attrs.field(factory=trio.Event)

    async def on_news(self, news: SessionUpdate) -> None:
        await trio.lowlevel.checkpoint()
        self.news.append(news)
        for prefix in news.withdrawn:
            del self.claims[prefix]
        self.claims |= {claim.prefix: claim for claim in news.routes}
        self.at = trio.current_time()
        self.changed.set()
        self.changed = trio.Event()

    @property
    def complete(self) -> bool:
        """Whether a complete listing stands behind it."""
        return bool(self.news) and self.news[-1].complete

    @property
    def names(self) -> dict[str, bytes]:
        """Whose each prefix is."""
        return {str(prefix): claim.name for prefix, claim in self.claims.items()}


@attrs.frozen
class Watched:
    """``openvpn`` and the ``watcher`` on it, and what that ``told``."""

    openvpn: FakeOpenVPN
    watcher: ManagementSource
    told: Told

    def supersede(self, address: str) -> None:
        """The session at *address* has lost to another server."""
        claim = self.told.claims[Prefix.parse(address)]
        lost = SupersededSession(claim.prefix, claim.name, claim.session, "vpnsrvB")
        self.watcher.superseded(frozenset({lost}))

    @property
    def drops(self) -> list[bytes]:
        """The commands that were to end a session."""
        return [line for line in self.openvpn.asked if line.startswith((b"kill", b"client-kill"))]


@asynccontextmanager
async def watched(
    openvpn: FakeOpenVPN,
    *,
    pass_file: Path | None = None,
    running: bool = True,
) -> AsyncIterator[Watched]:
    """A watcher that runs, and has settled."""
    told = Told()
    watcher = ManagementSource(
        config(pass_file),
        pace=INTERVALS,
        dialer=openvpn,
        on_news=told.on_news,
    )
    async with trio.open_nursery() as nursery:
        if running:
            nursery.start_soon(openvpn.run)
        nursery.start_soon(watcher.run)
        await settle()
        yield Watched(openvpn, watcher, told)
        nursery.cancel_scope.cancel()


async def settle() -> None:
    """Until what there is to tell has been told, and confirmed by a listing."""
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
