"""One server of a `Mesh`: a fake kernel and fake OpenVPNs, and the real daemon on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from cuberouted.api.http import Endpoint
from cuberouted.config import Config, OpenVPNConfig, parse
from cuberouted.daemon.daemon import Daemon, Environment
from cuberouted.daemon.snapshot import endpoints
from cuberouted.model import Prefix, format_address
from cuberouted.peering.session import PeerSession
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.types import Change, ChangeError, Nexthop, Op, Route
from tests.fakes.commands import FakeCommands
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_driver import MAIN
from tests.fakes.openvpn import FakeOpenVPN
from tests.fakes.probe import FakeProbe
from tests.fakes.records import FakeRecords
from tests.fakes.transport import FakeTransport

if TYPE_CHECKING:
    from tests.fakes.mesh import Mesh

START = 1_795_222_140.0
"""Unix seconds at the start of every mesh, by a clock without skew."""

METRIC, PROTOCOL = 50, 201

RUNS_ON: ContextVar[str] = ContextVar("RUNS_ON")
"""The server whose daemon a task belongs to; set in every task of a daemon, in no other."""


class AppliedChange(NamedTuple):
    """A change that the kernel accepted, and when (seconds)."""

    at: float
    change: Change


class RecordingKernel(FakeKernel):
    """A fake kernel that records the daemon's changes: ``applied``, oldest first."""

    def __init__(self, table: int) -> None:
        super().__init__(table, METRIC, PROTOCOL)
        self.applied: list[AppliedChange] = []

    async def apply(self, changes: Sequence[Change]) -> tuple[ChangeError, ...]:
        """See `KernelApi`."""
        refused = await super().apply(changes)
        failed = {refusal.change for refusal in refused}
        now = trio.current_time()
        self.applied += [AppliedChange(now, change) for change in changes if change not in failed]
        return refused

    def devices_of(self, destination: str) -> list[str]:
        """The devices of the routes to *destination* that were added, oldest first."""
        prefix, nexthops, found = Prefix.parse(destination), dict[int, int](), list[str]()
        names = {device.index: name for name, device in self.devices.items()}
        for _, change in self.applied:
            match change:
                case Change(Op.ADD | Op.REPLACE, Nexthop(id=id_, device=device)):
                    nexthops[id_] = device
                case Change(Op.ADD, Route(prefix=routed, nexthop=id_)) if routed == prefix:
                    found.append(names[nexthops[id_]])
        return found


class Server:
    """A host: its kernel and OpenVPNs keep their state when its daemon ends. Made by `Mesh.add`.

    ``settings``: further lines of its configuration before the first section; ``sections``: all
    sections, in place of the default ones for the peers and of ``services``: the lines of the
    sections of services, by their names; ``node``: the name that it announces. They take effect at
    the next `start` or `reload`. ``skew``: seconds that its wall clock is ahead. ``daemon``: the
    last one started. ``stop_error``: the kernel's error when that was stopped, or empty.
    """

    def __init__(self, mesh: Mesh, name: str, number: int, table: int) -> None:
        self.mesh = mesh
        self.name = name
        self.number = number
        self.address = bytes((10, 200, 200, number))
        self.data_address = f"10.100.100.{100 + number}"
        self.settings: list[str] = [] if table == MAIN else [f"route_table = {table}"]
        self.sections: list[str] | None = None
        self.services: dict[str, list[str]] = {}
        self.node = name
        self.skew = 0.0
        self.reloaded_at = -math.inf
        self.kernel = mesh.kernel_type(table)
        self.kernel.add_ethernet("lo")
        self.kernel.add_tunnel("tun0")
        self.kernel.add_address("tun0", f"{self.data_address}/24")
        self.probe = FakeProbe()
        self.records = FakeRecords()
        self.commands = FakeCommands()
        self.openvpns: dict[str, FakeOpenVPN] = {}
        self.transport: FakeTransport
        self.daemon: Daemon
        self.stop_error = ""
        self.on_start: Callable[[Daemon], object] = lambda _daemon: None
        """Called with each daemon of this server, before it runs."""
        self._stopping = False
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    def add_tunnel_to(self, other: Server) -> None:
        """Add its end of a tunnel to *other*."""
        self.kernel.add_tunnel(f"to-{other.name}")
        ends = f"{format_address(self.address)} peer {format_address(other.address)}/32"
        self.kernel.add_address(f"to-{other.name}", ends)

    # -- its daemon --

    @property
    def config(self) -> Config:
        """Its present configuration."""
        sections = self.sections
        if sections is None:
            sections = [section_of(other) for other in self.mesh.servers if other is not self]
            sections += ["\n".join((f"[service {s}]", *ls)) for s, ls in self.services.items()]
        lines = [f"node = {self.node}", "data_interface = tun0", *self.settings, *sections]
        return parse("\n".join(lines) + "\n", Path(f"/etc/{self.name}.conf"), self.name)

    async def start(self) -> None:
        """Start its daemon; returns when that has adopted the kernel's routes."""
        config = self.config
        self.transport = self.mesh.network.transport(self.address, config.hold_time)
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        self._stopping, self.stop_error = False, ""
        environment = Environment(
            self.kernel,
            self.transport,
            self,
            self.wall_clock,
            self.mesh.random.randbytes,
            self.probe,
            self.commands.run,
            self.records,
        )
        self.daemon = Daemon(config, environment)
        self.on_start(self.daemon)
        await self.mesh.nursery.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        RUNS_ON.set(self.name)
        with self._scope:
            try:
                await self.daemon.run(task_status=task_status)
            except KernelError as error:
                if not self._stopping:
                    raise
                self.stop_error = str(error)
        self._ended.set()

    async def stop(self) -> None:
        """Stop its daemon in order."""
        self._stopping = True
        self.daemon.stop()
        await self._ended.wait()
        self.mesh.network.stop(self.address)

    async def crash(self) -> None:
        """Kill its daemon."""
        self._scope.cancel()
        await self._ended.wait()
        self.mesh.network.stop(self.address)

    async def reload(self) -> None:
        """Reload the configuration of its daemon."""
        self.reloaded_at = trio.current_time()
        await self.daemon.reload(self.config)

    def wall_clock(self) -> float:
        """Unix seconds, as this server has them."""
        return START + trio.current_time() - self.mesh.began + self.skew

    # -- its OpenVPN --

    async def dial(self, config: OpenVPNConfig) -> trio.abc.HalfCloseableStream:
        """See `Dialer`."""
        return await self.openvpns[config.name].dial(config)

    @property
    def openvpn(self) -> FakeOpenVPN:
        """Its OpenVPN, if it has exactly one."""
        (only,) = self.openvpns.values()
        return only

    def add_openvpn(self, name: str = "") -> FakeOpenVPN:
        """Another OpenVPN process."""
        self.openvpns[name] = FakeOpenVPN(wall=self.wall_clock)
        self.mesh.nursery.start_soon(self.openvpns[name].run)
        return self.openvpns[name]

    def connect(self, name: str, *addresses: str, quiet: bool = False) -> int:
        """A client connects; its client id. *addresses*: its IPv4 one, then networks behind it."""
        address, *networks = (text.encode() for text in addresses)
        behind = tuple(networks)
        return self.openvpn.connect(name.encode(), address, networks=behind, quiet=quiet)

    # -- queries --

    @property
    def routes(self) -> dict[str, str]:
        """The routes of ours in its kernel: destination -> the peer, or else the device."""
        names = {device.index: name for name, device in self.kernel.devices.items()}
        installed = self.kernel.installed
        found = {}
        for prefix, route in sorted(installed.routes.items()):
            device = names[installed.nexthops[route.nexthop].device]
            found[prefix.short] = device.removeprefix("to-")
        return found

    def has(self, address: str) -> bool:
        """Whether the address of a service is on its interface lo."""
        packed = Prefix.parse(address).address
        return any(a.local == packed for a in self.kernel.devices["lo"].addresses)

    @property
    def clients(self) -> dict[str, str]:
        """`routes` without those to servers."""
        servers = {server.data_address for server in self.mesh.servers}
        return {where: to for where, to in self.routes.items() if where not in servers}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """What its control socket serves."""
        return endpoints(self.daemon)

    def session(self, peer: str) -> PeerSession:
        """Its daemon's session with *peer*."""
        return self.daemon.peers[peer].session


def section_of(peer: Server) -> str:
    """The section for *peer* in the configuration of another server."""
    where = f"mgmt_interface = to-{peer.name}\nmgmt_ip = {format_address(peer.address)}"
    return f"[peer {peer.name}]\n{where}"
