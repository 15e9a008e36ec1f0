"""Watches the kernel: whether our routes are still there, and what the links mean for us.

A shell. KernelEvents are hints, a look is the truth: each hint brings a look soon, a storm of
them one look a second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from cuberouted.config import Config
from cuberouted.daemon.host import HostState, configured_servers, data_interfaces, evaluate_links
from cuberouted.daemon.node import Node
from cuberouted.model import Prefix
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.linux.monitor import MAIN_TABLE
from cuberouted.routing.types import ForeignRoute, KernelEvents
from cuberouted.util.ratelimit import LogRateLimit

log = logging.getLogger(__name__)

MIN_SCAN_INTERVAL, MAX_SCAN_INTERVAL = 0.05, 1.0
"""Seconds between two looks; the pause doubles as long as hints keep coming."""

SCAN_INTERVAL = 60.0
"""Seconds after which we look without a hint: whatever was missed is right again then."""


class KernelMonitor:
    """``config`` may be replaced at any time; call `hint` then.

    ``on_surroundings`` is called after each look that found something new.
    """

    def __init__(
        self,
        config: Config,
        kernel: KernelApi,
        node: Node,
        on_surroundings: Callable[[HostState], None],
    ) -> None:
        self.config = config
        self._kernel = kernel
        self._node = node
        self._on_host_change = on_surroundings
        self._hinted = trio.Event()
        self._log_limit = LogRateLimit()

    def request_scan(self) -> None:
        """Look again, soon."""
        self._hinted.set()

    async def start(self) -> None:
        """The first look: adopt the routes that are there, and remove what leads to nobody.

        Raises:
          KernelError: no look was possible.
        """
        await self._kernel.set_rules(present=True)
        surroundings = await self._survey()
        adopted = await self._node.kernel_sync.adopt(surroundings.nexthops, surroundings.sources)
        await self._node.begin(surroundings, configured_servers(self.config), adopted)
        await self._tell(surroundings, HostState())

    async def run(self) -> None:
        """Look at every hint, and now and then without one."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            pause = MIN_SCAN_INTERVAL
            while True:
                with trio.move_on_after(SCAN_INTERVAL):
                    await self._hinted.wait()
                self._hinted = trio.Event()
                await self._scan()
                await trio.sleep(pause)
                pause = (
                    min(2 * pause, MAX_SCAN_INTERVAL)
                    if self._hinted.is_set()
                    else MIN_SCAN_INTERVAL
                )

    async def _scan(self) -> None:
        try:
            await self._kernel.set_rules(present=True)
            surroundings = await self._survey()
            await self._take_in(surroundings)
            await self._node.kernel_sync.rescan(surroundings.nexthops, surroundings.sources)
        except KernelError as error:
            if self._log_limit.allow("look", trio.current_time()) is not None:
                log.warning("kernel: %s; trying again", error)
            self.request_scan()

    async def _survey(self) -> HostState:
        links = await self._kernel.links()
        names = data_interfaces(self.config)
        through = {
            link.name: await self._kernel.routes_through(link.index)
            for link in links
            if link.name in names
        }
        return evaluate_links(self.config, links, through, self._node.host)

    async def _take_in(self, surroundings: HostState) -> None:
        before = self._node.host
        if surroundings != before:
            await self._node.interfaces_changed(surroundings, configured_servers(self.config))
            await self._tell(surroundings, before)

    async def _tell(self, surroundings: HostState, before: HostState) -> None:
        self._on_host_change(surroundings)
        if surroundings.missing != before.missing:
            log.info("interfaces: %s", _missing(surroundings))
        for mistake in surroundings.mistakes:
            if mistake not in before.mistakes:
                log.error("%s", mistake)
        if surroundings.policy.allowed != before.policy.allowed:
            log.info("allowed networks: %s", ", ".join(map(str, surroundings.policy.allowed)))
            await self._node.kernel_sync.rescan_foreign(self._concerns_us)

    async def _watch(self) -> None:
        while True:
            try:
                await self._handle_events(await self._kernel.events())
            except KernelError as error:
                if self._log_limit.allow("notices", trio.current_time()) is not None:
                    log.warning("kernel: %s; looking again", error)
                self.request_scan()
                await trio.sleep(MAX_SCAN_INTERVAL)

    async def _handle_events(self, notices: KernelEvents) -> None:
        if notices.lost:
            await self._node.kernel_sync.rescan_foreign(self._concerns_us)
        if notices.links or notices.ours or notices.lost or self._moves_networks(notices):
            self.request_scan()
        await self._node.kernel_sync.foreign_changed(
            [r for r in notices.added if self._stands_beside_ours(r)],
            [r for r in notices.deleted if self._stands_beside_ours(r)],
        )

    def _moves_networks(self, notices: KernelEvents) -> bool:
        """Whether what the main table leads to the data interface may have changed."""
        return any(
            route.table == MAIN_TABLE and not route.prefix.is_host
            for route in (*notices.added, *notices.deleted)
        )

    def _stands_beside_ours(self, route: ForeignRoute) -> bool:
        return route.table == self.config.route_table and self._concerns_us(route.prefix)

    def _concerns_us(self, prefix: Prefix) -> bool:
        allowed = self._node.host.policy.allowed
        return any(network.contains(prefix) for network in allowed)


def _missing(surroundings: HostState) -> str:
    names = ", ".join(surroundings.missing)
    return f"waiting for {names}" if names else "all are up"
