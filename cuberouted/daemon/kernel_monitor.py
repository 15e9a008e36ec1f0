"""Monitors the kernel: whether our routes are still there, and what the links mean for us.

A shell. Notifications only request a scan; the scan finds out what is true (BIRD's device
protocol works alike). Many notifications together cause one scan a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from cuberouted.config import Config
from cuberouted.daemon.foreign_routes import ForeignRoutes
from cuberouted.daemon.host import (
    HostState,
    configured_servers,
    data_interfaces,
    read_host_state,
)
from cuberouted.daemon.node import Node
from cuberouted.events import (
    AllowedNetworksChanged,
    Emit,
    InterfacesChanged,
    NodeProblem,
    RoutesRestored,
)
from cuberouted.model import MAIN_TABLE, Prefix
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.types import KernelEvents
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note
from cuberouted.util.tasks import Signal

MIN_SCAN_INTERVAL, MAX_SCAN_INTERVAL = 0.05, 1.0
"""Seconds between two requested scans. The interval doubles while requests keep coming."""

MAX_SHOWN = 3
"""Routes that an event names."""

SCAN_INTERVAL = 60.0
"""Seconds after which a scan is made without a request, in case a notification was missed."""


class KernelMonitor:
    """Scans the kernel and gives the results to *node*.

    ``config`` may be replaced at any time, followed by `request_scan`. *scan_requested* is the
    signal on which it waits. *on_host_change* is called after each scan that changed the
    `HostState`, *on_links* whenever links or addresses may be others. *emit* publishes events.
    """

    def __init__(
        self,
        config: Config,
        kernel: KernelApi,
        node: Node,
        scan_requested: Signal,
        on_host_change: Callable[[], None],
        emit: Emit,
        on_links: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self._kernel = kernel
        self._node = node
        self._scan_requested = scan_requested
        self._on_host_change = on_host_change
        self._on_links = on_links
        self._emit = emit
        self.foreign_routes = ForeignRoutes(
            kernel, node, config.route_table, config.route_metric, self.request_scan, emit
        )
        self._foreign_routes_stale = False
        self._seen = KernelEvents()  # links and ours, since the last scan
        self._limit = LogRateLimit()

    def request_scan(self) -> None:
        """Scan soon."""
        self._scan_requested.set()

    async def start(self) -> None:
        """Make the first scan: adopt our routes in the kernel, remove those without a target.

        Raises:
          KernelError: the kernel could not be scanned.
        """
        await self._kernel.set_rules(present=True)
        host = await self._host_state()
        adopted = await self._node.kernel_sync.adopt(host.nexthops, host.sources)
        await self._node.start(host, configured_servers(self.config), adopted)
        self._host_changed(host, HostState())
        await self.foreign_routes.rescan()

    async def run(self) -> None:
        """Scan at each request and every SCAN_INTERVAL, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(self.foreign_routes.run)
            interval = MIN_SCAN_INTERVAL
            while True:
                with trio.move_on_after(SCAN_INTERVAL) as patience:
                    await self._scan_requested.wait()
                self._foreign_routes_stale |= patience.cancelled_caught
                await self._scan()
                await trio.sleep(interval)
                again = self._scan_requested.is_set()
                interval = min(2 * interval, MAX_SCAN_INTERVAL) if again else MIN_SCAN_INTERVAL

    async def _scan(self) -> None:
        seen, self._seen = self._seen, KernelEvents()
        changed = False
        try:
            rules = await self._kernel.set_rules(present=True)
            host, before = await self._host_state(), self._node.host
            changed = host != before
            if changed:
                await self._node.interfaces_changed(host, configured_servers(self.config))
                self._host_changed(host, before)
            routes = await self._node.kernel_sync.rescan(host.nexthops, host.sources)
            if changed:
                self.foreign_routes.request_search()  # now that the nexthops are known
            # links and addresses take routes along
            explained = (seen.links or changed) and not seen.ours
            self._publish_restored(rules, () if explained else routes)
            if self._foreign_routes_stale or self.foreign_routes.is_stale:
                self._foreign_routes_stale = False
                await self.foreign_routes.rescan()
        except KernelError as error:
            self._foreign_routes_stale = True
            self._note(links=seen.links or changed, ours=seen.ours)  # for the next scan
            self._publish_error("scan", error, "trying again")
            self.request_scan()

    async def _host_state(self) -> HostState:
        links = await self._kernel.links()
        self.foreign_routes.set_links(links, data_interfaces(self.config))
        return await read_host_state(self._kernel, self.config, links, self._node.host)

    def _host_changed(self, host: HostState, before: HostState) -> None:
        self._on_host_change()
        if host.missing != before.missing:
            self._emit(InterfacesChanged(missing=tuple(host.missing)))
        for error in host.errors:
            if error not in before.errors:
                self._emit(NodeProblem(what="configuration", why=error))
        if host.policy.allowed != before.policy.allowed:
            networks = tuple(map(str, host.policy.allowed))
            self._emit(AllowedNetworksChanged(networks=networks))
            self._foreign_routes_stale = True

    async def _watch(self) -> None:
        while True:
            try:
                await self._handle_events(await self._kernel.events())
            except KernelError as error:
                self._publish_error("events", error, "scanning again")
                self._on_links()
                self.request_scan()
                await trio.sleep(MAX_SCAN_INTERVAL)

    async def _handle_events(self, events: KernelEvents) -> None:
        # the kernel does not notify the routes that go with a link or an address
        self._note(events.links, events.ours)
        if events.links or events.lost:
            self._on_links()
        if events.links or events.lost or events.rules:
            self._foreign_routes_stale = True
        if self._foreign_routes_stale or events.ours or self._may_change_networks(events):
            self.request_scan()
        await self.foreign_routes.change(events.added, events.deleted)

    def _note(self, links: bool, ours: bool) -> None:
        seen = self._seen
        self._seen = KernelEvents(links=seen.links or links, ours=seen.ours or ours)

    def _may_change_networks(self, events: KernelEvents) -> bool:
        """Whether the main table's networks behind a data interface may have changed."""
        return any(
            route.table == MAIN_TABLE and not route.prefix.is_host
            for route in (*events.added, *events.deleted)
        )

    def _publish_restored(self, rules: int, routes: Sequence[Prefix]) -> None:
        if rules or routes:
            shown = tuple(prefix.short for prefix in routes[:MAX_SHOWN])
            self._emit(RoutesRestored(routes=len(routes), rules=rules, shown=shown))

    def _publish_error(self, subject: str, error: KernelError, then: str) -> None:
        self._node.kernel_sync.errors[error.errno] += 1
        suppressed = self._limit.allow(subject, trio.current_time())
        if suppressed is not None:
            why = f"{error}; {then}{suppressed_note(suppressed)}"
            self._emit(NodeProblem(what="kernel", why=why))
