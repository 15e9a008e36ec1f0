"""The daemon: runs all tasks of one node in one nursery, reloads, and stops in an orderly way.

This is where OpenVPN, peers and routes meet. Everything outside the process comes in as an
`Environment`, so that tests and the simulation run this code on a fake OpenVPN, transport, kernel
and clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import trio

from cuberouted.config import Config, OpenVPNConfig, PeerConfig, restart_needed
from cuberouted.daemon.answers import Answers
from cuberouted.daemon.counters import Counters
from cuberouted.daemon.foreign_routes import ForeignRoutes
from cuberouted.daemon.graceful_restart import ExitPolicy
from cuberouted.daemon.hooks import Hooks
from cuberouted.daemon.hosts_file import HostsFile
from cuberouted.daemon.kernel_monitor import KernelMonitor
from cuberouted.daemon.maintenance import Maintenance
from cuberouted.daemon.maintenance_file import RecordFile, RecordStore
from cuberouted.daemon.node import Node
from cuberouted.daemon.node_info import NodeInfoPublisher
from cuberouted.daemon.peer_probe import HostProbe, PeerProbe
from cuberouted.daemon.services import Services
from cuberouted.daemon.standby import why_standby
from cuberouted.event_ring import EventRing
from cuberouted.model import SupersededSession
from cuberouted.openvpn.dial import Dialer
from cuberouted.openvpn.polling import PollIntervals
from cuberouted.openvpn.sessions import Sessions
from cuberouted.openvpn.source import SessionSource, open_source
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerLimits, PeerLost
from cuberouted.peering.requests import Requests
from cuberouted.peering.session import PeerSession
from cuberouted.peering.tasks import PeerReceiver, PublisherTask
from cuberouted.peering.transport import BindProblem, PeerEndpoint, Transport
from cuberouted.routing.flush import flush
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.util.command import RunCommand, run_command
from cuberouted.util.tasks import CancellableTask, Signal


class ReloadError(Exception):
    """A running daemon cannot apply the new configuration. The old one stays in force."""


@attrs.frozen
class Environment:
    """Everything outside the process.

    ``wall_clock`` returns Unix seconds; ``random_bytes`` as many bytes as it is asked for.
    ``probe``: what is read and tried when peers are checked. ``run_command`` runs the
    administrator's commands. ``records``: where the state of maintenance is kept.
    """

    kernel: KernelApi
    transport: Transport
    dialer: Dialer
    wall_clock: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    probe: PeerProbe = attrs.field(factory=HostProbe)
    run_command: RunCommand = run_command
    records: RecordStore = attrs.field(factory=RecordFile)


@attrs.frozen
class Peer:
    """A configured peer, its session and the task that receives from it."""

    config: PeerConfig
    session: PeerSession
    receiver: PeerReceiver
    task: CancellableTask = attrs.field(factory=CancellableTask)


@attrs.frozen
class OpenVPN:
    """A configured OpenVPN process, and the task that reads its sessions."""

    config: OpenVPNConfig
    source: SessionSource
    task: CancellableTask = attrs.field(factory=CancellableTask)


class Daemon:
    """One node. Call `run` once; meanwhile `reload` any number of times, and `stop`.

    ``hooks`` and ``hosts_file`` follow the events while they are run as well, by the process:
    they outlive `run`, and need other programs and a file system.
    """

    def __init__(self, config: Config, environment: Environment) -> None:
        self.config = config
        self.events = EventRing(config.node, config.events_kept, environment.wall_clock)
        self.peers: dict[str, Peer] = {}
        self.openvpns: dict[str, OpenVPN] = {}
        self.started_at = trio.current_time()
        self.start_time = environment.wall_clock()
        """When it was made, in Unix seconds of the clock at that time."""
        self.initial_sync_ends = self.started_at + config.hold_time
        """When a peer that was not up yet is no longer waited for."""
        self.refused_reload = ""
        """Why the last reload was refused, or empty; one line for each mistake."""
        self.api_problems: dict[str, str] = {}
        """Why the control socket or the web listener does not work, by `NodeProblem.what`."""
        self.environment = environment
        self._publisher = Publisher(
            config.node,
            int.from_bytes(environment.random_bytes(7)),
            config.heartbeat_interval,
            self.started_at,
        )
        self._publisher_task = PublisherTask(
            environment.transport, self._publisher, emit=self.events.publish
        )
        self.requests = Requests(
            self._publisher_task.direct,
            Answers(self).answer,
            environment.random_bytes,
            emit=self.events.publish,
        )
        scan_requested = Signal()
        self.node = Node(
            config.node,
            [openvpn.name for openvpn in config.openvpns],
            environment.kernel,
            config.route_metric,
            announce=self._publisher_task.announce,
            notify_superseded=self._notify_superseded,
            on_out_of_sync=scan_requested.set,
            emit=self.events.publish,
            wall_clock=environment.wall_clock,
        )
        self._kernel_monitor = KernelMonitor(
            config,
            environment.kernel,
            self.node,
            scan_requested,
            on_host_change=self._listen,
            emit=self.events.publish,
            on_links=lambda: self.services.links_changed(),
        )
        self.hooks = Hooks(config, environment.run_command, self.events.publish)
        self.hosts_file = HostsFile(config, self.node.rib, self.events.publish)
        self.counters = Counters()
        self.maintenance = Maintenance(self)
        self.node_info = NodeInfoPublisher(self, self._publisher_task.set_info)
        self.services = Services(self)
        self.exit_policy = ExitPolicy(self)
        self.keeps_routes = False
        """Whether the routes stay when it ends. `stop` decides: all that ends does the same."""
        self.node.is_standby = self._is_standby
        self.events.listeners += [self.counters.count, self.hooks.put, self.hosts_file.put]
        self._stop_requested = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`. Started once the kernel has been scanned and its routes adopted.

        Raises:
          KernelError: the kernel could not be scanned at the start, or not be flushed at the end.
        """
        await self._kernel_monitor.start()
        task_status.started()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._kernel_monitor.run)
            nursery.start_soon(self.node.event_publisher.run)
            self.node_info.refresh()  # before the first heartbeat
            nursery.start_soon(self.node_info.run)
            nursery.start_soon(self._publisher_task.run)
            nursery.start_soon(self.requests.run)
            nursery.start_soon(self.services.run)
            nursery.start_soon(self._finish_initial_sync)
            nursery.start_soon(self.maintenance.run)
            self._start_missing(self.config, {})
            try:
                await self._stop_requested.wait()
            finally:
                self._nursery = None  # a reload that is in progress starts nothing any more
            await self.services.stop()
            self._publisher_task.goodbye(restarting=self.keeps_routes)
            nursery.cancel_scope.cancel()
        if not self.keeps_routes:
            with trio.CancelScope(shield=True):
                await flush(self.environment.kernel)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop_requested.is_set()

    @property
    def rejected_connections(self) -> int:
        """How many connections to our publishing socket were rejected."""
        return self.environment.transport.rejected_connections

    def is_subscribed(self, peer: str) -> bool:
        """Whether *peer* is connected to our publishing socket."""
        return self._publisher.is_subscribed(peer)

    def unreceived_snapshots(self, peer: str) -> int:
        """How many connections in a row ended before *peer* had our snapshot."""
        return self._publisher.unreceived(peer, trio.current_time())

    @property
    def bind_problems(self) -> tuple[BindProblem, ...]:
        """The addresses on which we should listen for peers and do not, with the reason."""
        return self.environment.transport.bind_problems

    @property
    def foreign_routes(self) -> ForeignRoutes:
        """The foreign routes in the kernel, and their conflicts with ours."""
        return self._kernel_monitor.foreign_routes

    def stop(self) -> None:
        """Stop in an orderly way; `exit_policy` says what becomes of the routes."""
        if not self._stop_requested.is_set():
            self.keeps_routes = self.exit_policy.keeps_routes()
            self._stop_requested.set()

    async def reload(self, config: Config) -> None:
        """Apply *config*. Peers whose section is unchanged keep their sessions.

        Raises:
          ReloadError: it changes a key that needs a restart, or the daemon is stopping. Nothing
            of it is applied.
        """
        if self._stop_requested.is_set():
            raise ReloadError("cuberouted is stopping; nothing is reloaded")
        fixed = restart_needed(self.config, config)
        if fixed:
            raise ReloadError(f"{', '.join(fixed)}: a change needs a restart; nothing is reloaded")
        self.config = self._kernel_monitor.config = config
        self.events.resize(config.events_kept)
        self.hooks.reconfigure(config)
        self.hosts_file.reconfigure(config)
        await self._stop_peers(config)
        sessions = await self._stop_openvpns(config)
        for peer in self.peers.values():
            peer.session.reconfigure(self._peer_limits())
        for name, openvpn in self.openvpns.items():
            openvpn.source.reconfigure(self._poll_intervals())
            self._notify_superseded(name, self.node.superseded(name))
        self._publisher.reconfigure(config.heartbeat_interval, trio.current_time())
        self.environment.transport.reconfigure(config.hold_time)
        self._start_missing(config, sessions)
        self.node_info.refresh()
        self.services.reconfigure(config)
        self._kernel_monitor.request_scan()

    # -- peers and OpenVPN processes --

    def _start_missing(self, config: Config, sessions: Mapping[str, Sessions]) -> None:
        """Start what does not run. *sessions*: what OpenVPN processes of that name had."""
        # a reload before `run` or while stopping starts nothing
        if self._nursery is None or self._stop_requested.is_set():
            return
        self.environment.transport.allow(config.allowed_peers())
        self._listen()
        for peer in config.peers:
            if peer.label not in self.peers:
                self._start_peer(peer, self._nursery)
        for openvpn in config.openvpns:
            if openvpn.name not in self.openvpns:
                known = sessions.get(openvpn.name) or Sessions(openvpn.name)
                self._start_openvpn(openvpn, known, self._nursery)

    async def _stop_peers(self, config: Config) -> None:
        """Stop the peers that are not in *config*, or changed."""
        wanted = {peer.label: peer for peer in config.peers}
        for label, peer in list(self.peers.items()):
            if wanted.get(label) != peer.config:
                await peer.task.cancel()
                del self.peers[label]
            if label not in wanted:
                await self.node.update_peer(PeerLost(label, "no longer in the configuration"))

    async def _stop_openvpns(self, config: Config) -> dict[str, Sessions]:
        """Stop the OpenVPN processes that are not in *config*, or changed.

        Return their sessions by name. Those of a changed one are kept until it is listed again,
        or for the hold time; those of a removed one are withdrawn.
        """
        sessions = {}
        for name, openvpn in list(self.openvpns.items()):
            if openvpn.config not in config.openvpns:
                await openvpn.task.cancel()
                sessions[name] = self.openvpns.pop(name).source.sessions
        await self.node.set_instances([openvpn.name for openvpn in config.openvpns])
        return sessions

    def _start_peer(self, config: PeerConfig, nursery: trio.Nursery) -> None:
        session = PeerSession(
            config.label,
            config.name,
            self.config.node,
            self._peer_limits(),
            trio.current_time(),
            nonce=lambda: self.environment.random_bytes(8),
            interface=config.mgmt_interface,
        )
        endpoint = PeerEndpoint(
            config.label, config.mgmt_ip, config.port, config.mgmt_interface, config.public_keys
        )
        receiver = PeerReceiver(
            self.environment.transport,
            endpoint,
            session,
            self.node.update_peer,
            self.requests.receive,
            emit=self.events.publish,
            on_change=self.services.wake,
        )
        peer = self.peers[config.label] = Peer(config, session, receiver)
        nursery.start_soon(peer.task.run, receiver.run)

    def _start_openvpn(
        self, config: OpenVPNConfig, sessions: Sessions, nursery: trio.Nursery
    ) -> None:
        source = open_source(
            config,
            sessions,
            self._poll_intervals(),
            self.environment.dialer,
            self.environment.wall_clock,
            self.node.update_local,
            emit=self.events.publish,
        )
        openvpn = self.openvpns[config.name] = OpenVPN(config, source)
        nursery.start_soon(openvpn.task.run, source.run)
        self._notify_superseded(config.name, self.node.superseded(config.name))

    def _peer_limits(self) -> PeerLimits:
        config = self.config
        return PeerLimits(config.hold_time, config.restart_time, config.max_advertisements)

    def _poll_intervals(self) -> PollIntervals:
        config = self.config
        return PollIntervals(config.poll_interval, config.status_interval, config.hold_time)

    def _notify_superseded(self, instance: str, superseded: frozenset[SupersededSession]) -> None:
        if instance in self.openvpns:
            to_kill = superseded if self.config.kill_superseded_sessions else frozenset()
            self.openvpns[instance].source.set_superseded(to_kill)

    def _is_standby(self, instance: str) -> bool:
        return any(o.name == instance and why_standby(self, o) for o in self.config.openvpns)

    def _listen(self) -> None:
        # not before `allow`, which would reject the peers that connect meanwhile
        if self._nursery is not None:
            self.environment.transport.listen(self.node.host.listen)

    async def _finish_initial_sync(self) -> None:
        # without a listing the peers wait no longer than for a node that is down
        with trio.move_on_after(self.config.hold_time):
            await self.node.all_listed.wait()
        self._publisher_task.initial_sync_done()
