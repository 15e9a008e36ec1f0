"""The web listener of a daemon: what it serves, and where. A reload moves it."""

from __future__ import annotations

from functools import partial
from itertools import chain

import attrs
import trio

from cuberouted.api.http import Endpoint
from cuberouted.api.http_server import HttpServer
from cuberouted.config import Config
from cuberouted.daemon import event_stream, metrics_endpoint, readiness
from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.node import Node
from cuberouted.daemon.snapshot import endpoints
from cuberouted.events import NodeProblem, NodeProblemEnded
from cuberouted.model import Kind, Prefix
from cuberouted.util.tasks import Signal
from cuberouted.web import page
from cuberouted.web.listener import serve
from cuberouted.web.names import visible, without_names
from cuberouted.web.request_filter import WebRequestFilter

WHAT = "web_listen"
"""`NodeProblem.what`, and the key of the configuration."""


def web_endpoints(daemon: Daemon) -> tuple[Endpoint, ...]:
    """What the web listener serves: what the API has for reading, and what only HTTP needs."""
    api = (e for e in endpoints(daemon) if e.method == "GET" and not e.local_only)
    served = (
        *api,
        metrics_endpoint.endpoint(daemon),
        event_stream.server_sent_endpoint(daemon.events),
        *readiness.endpoints(daemon),
        page.endpoint(),
    )
    return served if daemon.config.web_names else without_names(served, _nameless(daemon))


def _nameless(daemon: Daemon) -> tuple[Endpoint, ...]:
    """What is made in another way with ``web_names = no``."""
    return (
        event_stream.endpoint(daemon.events, visible),
        event_stream.server_sent_endpoint(daemon.events, visible),
        *readiness.endpoints(daemon, details=False),
    )


def is_client(node: Node, address: str) -> bool:
    """Whether *address* may be that of a client of the VPN, or be in a network behind one.

    It is what can be a client's by our networks, or is one by a route, and is no server's or
    service's.
    """
    prefix, host = Prefix.parse(address), node.host
    if prefix.address in host.policy.own_addresses:
        return False
    # also a route that an earlier run has left, while the data interface is missing
    route = node.rib.best(node.kernel_sync.fib.longest(prefix) or prefix)
    if route is not None:
        return route.advertisement.kind in (Kind.CLIENT, Kind.NETWORK)
    allowed = (*host.policy.allowed, *chain.from_iterable(host.networks.values()))
    return attrs.evolve(host.policy, allowed=allowed).refusal(prefix, Kind.CLIENT, "") is None


class Web:
    """The web listener of *daemon*, if its configuration has one."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._reconfigured = Signal()
        self._server: HttpServer | None = None

    def reconfigure(self) -> None:
        """The daemon's configuration is another one."""
        self._reconfigured.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            settings = _settings(self._daemon.config)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, self._daemon.config)
                while _settings(self._daemon.config) == settings:
                    await self._reconfigured.wait()
                nursery.cancel_scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until no request is being answered."""
        if self._server is not None:
            await self._server.wait_idle()

    async def _serve(self, config: Config) -> None:
        listen = config.web_listen
        if listen is None:
            self._report("")
            return

        def report(why: str) -> None:
            self._report(f"{listen}: {why}" if why else "")

        refused = None if config.web_clients else partial(is_client, self._daemon.node)
        request_filter = WebRequestFilter(frozenset(config.web_hosts), refused)
        events = self._daemon.events
        self._server = HttpServer(web_endpoints(self._daemon), events.publish, WHAT, request_filter)
        try:
            await serve(listen, self._server, report)
        finally:
            self._server = None

    def _report(self, problem: str) -> None:
        before = self._daemon.api_problems.pop(WHAT, "")
        if problem:
            self._daemon.api_problems[WHAT] = problem
        if problem and problem != before:
            self._daemon.events.publish(NodeProblem(what=WHAT, why=problem))
        elif before and not problem:
            self._daemon.events.publish(NodeProblemEnded(what=WHAT))


def _settings(config: Config) -> tuple[object, ...]:
    return config.web_listen, config.web_hosts, config.web_clients, config.web_names
