"""The daemon: opens the rooms in one nursery, reloads, and ends in good order.

The rooms meet here alone. The outer world comes in as `Environment`, so that a simulation can
run this very code on a fake OpenVPN, transport, kernel and clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio

from cuberouted.config import Config, OnExit, OpenVPNConfig, PeerConfig, restart_needed
from cuberouted.daemon.host import HostState
from cuberouted.daemon.kernel_monitor import KernelMonitor
from cuberouted.daemon.node import Node
from cuberouted.model import SupersededSession, format_address
from cuberouted.openvpn.dial import Dialer
from cuberouted.openvpn.polling import PollIntervals
from cuberouted.openvpn.sessions import SessionUpdate
from cuberouted.openvpn.source import SessionSource, open_source
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerLimits, PeerLost
from cuberouted.peering.session import PeerSession
from cuberouted.peering.tasks import PeerReceiver, PublisherTask
from cuberouted.peering.transport import BindProblem, PeerEndpoint, Transport
from cuberouted.routing.flush import flush
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.util.tasks import CancellableTask

log = logging.getLogger(__name__)


class ReloadError(Exception):
    """The new configuration cannot be taken over by a running daemon; the old one stays."""


@attrs.frozen
class Environment:
    """The outer world.

    ``wall_clock`` tells Unix seconds; ``random_bytes`` gives as many as it is asked for.
    """

    kernel: KernelApi
    transport: Transport
    dialer: Dialer
    wall_clock: Callable[[], float]
    random_bytes: Callable[[int], bytes]


@attrs.frozen
class Peer:
    """A peer that we listen to."""

    config: PeerConfig
    session: PeerSession
    task: CancellableTask = attrs.field(factory=CancellableTask)


@attrs.frozen
class OpenVPN:
    """An OpenVPN process that we watch."""

    config: OpenVPNConfig
    source: SessionSource
    task: CancellableTask = attrs.field(factory=CancellableTask)


class Daemon:
    """One node. `run` it; then `reload` and `stop` it as often as you like, and once."""

    def __init__(self, config: Config, edges: Environment) -> None:
        self.config = config
        self.node = Node(
            config.node,
            [openvpn.name for openvpn in config.openvpns],
            edges.kernel,
            config.route_metric,
            say=lambda advertise, withdraw: self._publisher_task.announce(advertise, withdraw),
            tell_superseded=self._notify_superseded,
            on_stale=lambda: self._kernel_monitor.request_scan(),
        )
        self.peers: dict[str, Peer] = {}
        self.openvpns: dict[str, OpenVPN] = {}
        self.started_at = trio.current_time()
        self._environment = edges
        self._publisher = Publisher(
            config.node,
            int.from_bytes(edges.random_bytes(7)),
            config.heartbeat_interval,
            self.started_at,
        )
        self._publisher_task = PublisherTask(edges.transport, self._publisher)
        self._kernel_monitor = KernelMonitor(config, edges.kernel, self.node, self._host_changed)
        self._listed: set[str] = set()
        self._all_listed = trio.Event()
        self._stopping = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`. Started once the kernel has been read and its routes adopted.

        Raises:
          KernelError: the kernel could not be read at the start, or not be cleared at the end.
        """
        await self._kernel_monitor.start()
        task_status.started()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._kernel_monitor.run)
            nursery.start_soon(self._publisher_task.run)
            nursery.start_soon(self._end_syncing)
            self._start_missing(self.config)
            await self._stopping.wait()
            keep = self.config.on_exit is OnExit.KEEP
            self._publisher_task.goodbye(restarting=keep)
            nursery.cancel_scope.cancel()
        if not keep:
            with trio.CancelScope(shield=True):
                await flush(self._environment.kernel)

    @property
    def rejected_connections(self) -> int:
        """How many connections were rejected."""
        return self._environment.transport.rejected_connections

    @property
    def bind_problems(self) -> tuple[BindProblem, ...]:
        """The addresses on which we should listen for peers and do not, with the reason."""
        return self._environment.transport.bind_problems

    def stop(self) -> None:
        """End in good order, as ``on_exit`` says."""
        self._stopping.set()

    async def reload(self, config: Config) -> None:
        """Live by *config* from now on. Peers that did not change notice nothing.

        Raises:
          ReloadError: it changes what needs a restart, or this is the end; nothing is taken over.
        """
        if self._stopping.is_set():
            raise ReloadError("cuberouted is ending; nothing is reloaded")
        fixed = restart_needed(self.config, config)
        if fixed:
            raise ReloadError(f"{', '.join(fixed)}: a change needs a restart; nothing is reloaded")
        self.config = self._kernel_monitor.config = config
        await self._end_peers(config)
        await self._end_openvpns(config)
        for peer in self.peers.values():
            peer.session.reconfigure(self._limits())
        for name, openvpn in self.openvpns.items():
            openvpn.source.reconfigure(self._pace())
            self._notify_superseded(name, self.node.rib.superseded(name))
        self._publisher.reconfigure(config.heartbeat_interval, trio.current_time())
        self._start_missing(config)
        self._kernel_monitor.request_scan()

    # -- what may come and go --

    def _start_missing(self, config: Config) -> None:
        if self._nursery is None or self._stopping.is_set():
            return  # reloaded before the start: `run` will do it; or at the end
        self._environment.transport.allow(config.allowed_peers())
        self._environment.transport.listen(self.node.host.listen)
        for peer in config.peers:
            if peer.label not in self.peers:
                self._start_peer(peer, self._nursery)
        for openvpn in config.openvpns:
            if openvpn.name not in self.openvpns:
                self._start_openvpn(openvpn, self._nursery)

    async def _end_peers(self, config: Config) -> None:
        wanted = {peer.label: peer for peer in config.peers}
        for label, peer in list(self.peers.items()):
            if wanted.get(label) != peer.config:
                await peer.task.cancel()
                del self.peers[label]
            if label not in wanted:
                await self.node.update_peer(PeerLost(label, "no longer in the configuration"))

    async def _end_openvpns(self, config: Config) -> None:
        for name, openvpn in list(self.openvpns.items()):
            if openvpn.config not in config.openvpns:
                await openvpn.task.cancel()
                del self.openvpns[name]
                await self.node.forget_instance(name)
        await self.node.set_instances([openvpn.name for openvpn in config.openvpns])

    def _start_peer(self, config: PeerConfig, nursery: trio.Nursery) -> None:
        label = config.label
        session = PeerSession(
            label,
            config.name,
            self.config.node,
            self._limits(),
            trio.current_time(),
            nonce=lambda: self._environment.random_bytes(8),
        )
        self.peers[label] = peer = Peer(config, session)
        nursery.start_soon(self._follow_peer, peer)

    async def _follow_peer(self, peer: Peer) -> None:
        config = peer.config
        endpoint = PeerEndpoint(
            config.label, config.mgmt_ip, config.port, config.mgmt_interface, config.public_keys
        )
        where = format_address(endpoint.address), endpoint.port, endpoint.device
        log.info("peer %s: connecting to %s port %d on %s", endpoint.key, *where)
        receiver = PeerReceiver(
            self._environment.transport, endpoint, peer.session, self.node.update_peer
        )
        await peer.task.run(receiver.run)

    def _start_openvpn(self, config: OpenVPNConfig, nursery: trio.Nursery) -> None:
        edges = self._environment
        new = OpenVPN(
            config,
            open_source(config, self._pace(), edges.dialer, edges.wall_clock, self._local_news),
        )
        self.openvpns[config.name] = new
        nursery.start_soon(new.task.run, new.source.run)
        self._notify_superseded(config.name, self.node.rib.superseded(config.name))

    def _limits(self) -> PeerLimits:
        config = self.config
        return PeerLimits(config.hold_time, config.restart_time, config.max_advertisements)

    def _pace(self) -> PollIntervals:
        config = self.config
        return PollIntervals(config.poll_interval, config.status_interval, config.hold_time)

    # -- what is carried from room to room --

    async def _local_news(self, news: SessionUpdate) -> None:
        await self.node.update_local(news)
        if news.complete:
            self._listed.add(news.instance)
            if self._listed.issuperset(self.openvpns):
                self._all_listed.set()

    async def _end_syncing(self) -> None:
        # without a listing the peers wait no longer than they would for a dead node
        with trio.move_on_after(self.config.hold_time):
            await self._all_listed.wait()
        self._publisher_task.initial_sync_done()

    def _notify_superseded(self, instance: str, superseded: frozenset[SupersededSession]) -> None:
        if instance in self.openvpns:
            to_drop = superseded if self.config.kill_superseded_sessions else frozenset()
            self.openvpns[instance].source.superseded(to_drop)

    def _host_changed(self, host: HostState) -> None:
        if self._nursery is not None:  # before that, `allow` has not been called
            self._environment.transport.listen(host.listen)
