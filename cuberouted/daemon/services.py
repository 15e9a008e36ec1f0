"""Runs the shared service addresses of this node.

One `ServiceMachine` a service decides; this task shows it what is known, and carries out what it
returns, in order: the address is there before the claim says so, and gone before it says that. It
looks again at each change and when a machine is due; nothing polls.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

import attrs
import trio

from cuberouted.config import Config, OnExit, ServiceConfig
from cuberouted.daemon import service_rows
from cuberouted.daemon.service_addresses import ServiceAddresses
from cuberouted.daemon.service_tracker import Service, ServiceTracker
from cuberouted.model import Advertisement, Kind, Prefix, format_address, printable_name
from cuberouted.peering.events import PeerState
from cuberouted.service_claim import ServiceClaim
from cuberouted.services.machine import ServiceMachine
from cuberouted.services.types import PeerView, Program, Run, View
from cuberouted.util.tasks import CancellableTask, Signal

if TYPE_CHECKING:
    from cuberouted.api import report_services
    from cuberouted.daemon.daemon import Daemon, Peer

STOP_TIMEOUT = 4.0
"""Seconds for all on_release when the daemon stops. systemd waits 10 s (TimeoutStopSec=)."""

MIN_LOOK_INTERVAL = 0.001
"""Seconds between two looks at a machine that is due again at once."""

MAX_LOOKS = 3
"""Looks at one service in a row, because the address could not be added."""

MAX_TRACKED = 1000
"""Services of the mesh whose moves are published."""

MAX_LINE = 100
"""Characters of what a command has written last, in a reason."""


@attrs.define(eq=False)
class LocalService:
    """A ``[service NAME]`` section at work. ``claim``: as it is advertised, None before the first.

    ``command``, ``check``: the scopes of the commands that run. ``failed``: which fence, on_acquire
    or on_release has failed, and why, or empty; ``check_failed``: why the last check has.
    ``retiring``: the section is gone, or the daemon stops.
    """

    machine: ServiceMachine
    claim: ServiceClaim | None = None
    command: trio.CancelScope | None = None
    check: trio.CancelScope | None = None
    failed: str = ""
    check_failed: str = ""
    retiring: bool = False

    @property
    def config(self) -> ServiceConfig:
        """Its section."""
        return self.machine.config

    def retire(self, now: float) -> None:
        """Give the address up in order, and then end."""
        if not self.retiring:
            self.retiring = True
            self.machine.stop(now)

    def cancel(self) -> None:
        """Kill the commands that run."""
        for scope in (self.command, self.check):
            if scope is not None:
                scope.cancel()


class Services:
    """The services of *daemon*'s node. Call `run` once, `stop` at the end.

    ``local``: of this node's sections, also those that are being given up.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.local: list[LocalService] = []
        environment, config = daemon.environment, daemon.config
        self.addresses = ServiceAddresses(
            environment.kernel, config.service_interface, daemon.events.publish
        )
        self._daemon = daemon
        self._environment = environment
        self._emit = daemon.events.publish
        self._tracker = ServiceTracker()
        self._configs = config.services
        self._announced: tuple[Advertisement, ...] = ()
        self._wakeup = Signal()
        self._stopping = False
        self._released = trio.Event()
        self._settled = False
        self._task = CancellableTask()
        self._nursery: trio.Nursery | None = None
        daemon.node.on_services_changed = self.wake

    # -- queries --

    def report(self) -> report_services.Services:
        """Every service of the mesh, as this node sees it."""
        return service_rows.services(self._daemon)

    # -- inputs --

    def wake(self) -> None:
        """Something has changed: look at everything again."""
        self._wakeup.set()

    def links_changed(self) -> None:
        """The addresses of the host's interfaces may be others."""
        if self.local:
            self.addresses.links_changed()
            self._wakeup.set()

    def reconfigure(self, config: Config) -> None:
        """Apply *config*: services that are gone give their address up in order."""
        if self._stopping:
            return
        self._configs = config.services
        now, wanted = trio.current_time(), {_key(c): c for c in config.services}
        for service in self.local:
            new = wanted.get(_key(service.config))
            if new is None:
                service.retire(now)
            elif new != service.config and not service.retiring:
                service.machine.reconfigure(new, now)
        self.addresses.links_changed()  # and remove what no section has any more
        self.wake()

    async def stop(self) -> None:
        """The daemon stops: give everything up, or with ``on_exit = keep`` leave the addresses.

        Takes little more than STOP_TIMEOUT at most.
        """
        self._stopping = True
        if self._daemon.config.on_exit is OnExit.KEEP:
            await self._task.cancel()
            return
        now = trio.current_time()
        for service in self.local:
            service.retire(now)
        self.wake()
        with trio.move_on_after(STOP_TIMEOUT):
            await self._released.wait()
        await self._task.cancel()
        for service in self.local:
            config = service.config
            await self.addresses.set(config.name, config.address, present=False)
        self.local.clear()
        await self._announce()

    # -- the task --

    async def run(self) -> None:
        """Run until `stop`, or until cancelled: then the addresses stay."""
        await self._task.run(self._run)

    async def _run(self) -> None:
        async with trio.open_nursery() as self._nursery:
            while True:
                await self._look()
                if self._stopping and not self.local:
                    break
                due = max(self._deadline(), trio.current_time() + MIN_LOOK_INTERVAL)
                with trio.move_on_at(due):
                    await self._wakeup.wait()
        self._released.set()

    def _deadline(self) -> float:
        daemon = self._daemon
        machines = (min(_check_due(s), s.machine.deadline) for s in self.local)
        settles = math.inf if self._settled else daemon.initial_sync_ends
        return min(self.addresses.deadline, self._tracker.deadline, settles, *machines, math.inf)

    async def _look(self) -> None:
        """Look at everything, and do what follows."""
        await self.addresses.refresh({s.config.address for s in self.local} | self._wanted)
        if self.addresses.known:
            self._start_missing()
            for service in tuple(self.local):
                await self._look_at(service)
            self.local = [s for s in self.local if not self._is_over(s)]
            await self._announce()
        self._settled = self._settled or self._is_settled()
        self._track()

    @property
    def _wanted(self) -> set[bytes]:
        return {config.address for config in self._configs}

    def _start_missing(self) -> None:
        """Start the services that do not run. One waits for what it replaces."""
        if self._stopping:
            return
        addresses = {s.config.address for s in self.local}
        names = {s.config.name for s in self.local}
        node, wall_clock = self._daemon.config.node, self._environment.wall_clock
        for config in self._configs:
            if config.address not in addresses and config.name not in names:
                machine = ServiceMachine(config, node, wall_clock, trio.current_time())
                self.local.append(LocalService(machine))

    def _is_over(self, service: LocalService) -> bool:
        """Whether it is given up, and its claim can be withdrawn."""
        address = service.config.address
        if not service.retiring or not service.machine.is_released or address in self.addresses:
            return False
        service.cancel()
        return True

    async def _look_at(self, service: LocalService) -> None:
        """Show *service* what is known, and carry out what it returns."""
        machine, config = service.machine, service.config
        for _ in range(MAX_LOOKS):
            actions = machine.receive(self._view(config), trio.current_time())
            done = await self.addresses.set(config.name, config.address, present=actions.address)
            if done:
                service.claim = actions.claim
                await self._announce()
            if actions.run is not None:
                self._start(service, actions.run)
            if actions.kill and service.command is not None:
                service.command.cancel()
            for event in actions.events:
                self._emit(event)
            if done or not actions.address:  # what is still there keeps its claim
                break
        if trio.current_time() >= _check_due(service) and not service.retiring:
            self._start_check(service)

    async def _announce(self) -> None:
        """Advertise the claims, if one has changed."""
        claims = tuple(_advertisement(s.config, s.claim) for s in self.local if s.claim)
        if claims != self._announced:
            self._announced = claims
            await self._daemon.node.update_services(claims)

    # -- what is known --

    def _view(self, config: ServiceConfig) -> View:
        daemon = self._daemon
        return View(
            claims=daemon.node.claims(config.address),
            peers=tuple(_peer_view(peer) for peer in daemon.peers.values()),
            settled=self._is_settled(),
            available=daemon.maintenance.is_active,
            has_address=config.address in self.addresses,
            address_error=self.addresses.error(config.address),
            witness_time=daemon.config.hold_time - daemon.config.heartbeat_interval,
        )

    def _is_settled(self) -> bool:
        daemon = self._daemon
        if trio.current_time() >= daemon.initial_sync_ends:
            return True
        sessions = [peer.session for peer in daemon.peers.values()]
        return all(s.has_been_up for s in sessions) and len(sessions) == len(daemon.config.peers)

    def _track(self) -> None:
        """Publish where services are now, if they were elsewhere."""
        now, rib = trio.current_time(), self._daemon.node.rib
        seen = set()
        for prefix in islice(rib.service_prefixes(), MAX_TRACKED):
            routes = rib.services(prefix)
            best = routes[0].advertisement
            service = Service(printable_name(best.name), prefix.short)
            claims = {r.node: c for r in routes if (c := r.advertisement.service) is not None}
            has_it = best.service is not None and best.service.phase.has_address
            self._move(service, routes[0].node if has_it else "", claims, now)
            seen.add(service)
        for service in self._tracker.services:
            if service not in seen:
                self._move(service, "", {}, now)
        for event in self._tracker.timer(now):
            self._emit(event)

    def _move(
        self, service: Service, node: str, claims: dict[str, ServiceClaim], now: float
    ) -> None:
        if not self._settled:
            self._tracker.learn(service, node)
            return
        for event in self._tracker.receive(service, node, claims, self._peer_problems(), now):
            self._emit(event)

    def _peer_problems(self) -> dict[str, str]:
        """Why the peers that are not up are not, by node."""
        sessions = (peer.session for peer in self._daemon.peers.values())
        return {
            s.last_accepted_name or s.peer: s.why for s in sessions if s.state is not PeerState.UP
        }

    # -- commands --

    def _start(self, service: LocalService, run: Run) -> None:
        service.command = trio.CancelScope()
        argv = getattr(service.config, run.program.value)
        env = self._variables(service.config, run)
        limit = service.config.command_timeout
        self._spawn(service, run.program, argv, env, limit, service.command)

    def _start_check(self, service: LocalService) -> None:
        service.check = trio.CancelScope()
        config = service.config
        env = self._variables(config, Run(Program.CHECK))
        self._spawn(service, Program.CHECK, config.check, env, config.check_timeout, service.check)

    def _spawn(
        self,
        service: LocalService,
        program: Program,
        argv: tuple[str, ...],
        env: dict[str, str],
        limit: float,
        scope: trio.CancelScope,
    ) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._run_command, service, program, argv, env, limit, scope)

    async def _run_command(
        self,
        service: LocalService,
        program: Program,
        argv: tuple[str, ...],
        env: dict[str, str],
        limit: float,
        scope: trio.CancelScope,
    ) -> None:
        ok, why = False, "killed"
        with scope:
            end = await self._environment.run_command(argv, env=env, time_limit=limit)
            key = "check_timeout" if program is Program.CHECK else "command_timeout"
            line = printable_name(end.last_line)[:MAX_LINE]
            ok, why = not end.failed, f"{argv[0]} {end.how(key)}{': ' if line else ''}{line}"
        if program is Program.CHECK:
            service.check = None
            if argv == service.config.check and not scope.cancelled_caught:
                service.check_failed = "" if ok else why
                service.machine.ended(program, ok, service.check_failed, trio.current_time())
        else:
            service.command = None
            service.failed = "" if ok or scope.cancelled_caught else f"{program} failed: {why}"
            service.machine.ended(program, ok, "" if ok else why, trio.current_time())
        self.wake()

    def _variables(self, config: ServiceConfig, run: Run) -> dict[str, str]:
        address = format_address(config.address)
        env = {
            "CUBEROUTED_SERVICE": config.name,
            "CUBEROUTED_ADDRESS": address,
            "CUBEROUTED_NODE": self._daemon.config.node,
            "CUBEROUTED_INTERFACE": self.addresses.interface,
        }
        if run.peer:
            env["CUBEROUTED_PEER"] = run.peer
        before = self._tracker.last_holder(Service(config.name, address))
        if run.program is Program.ON_ACQUIRE and before not in ("", self._daemon.config.node):
            env["CUBEROUTED_FROM_NODE"] = before
        return env


def _key(config: ServiceConfig) -> tuple[str, bytes]:
    """A service with another name or address is another one."""
    return config.name, config.address


def _check_due(service: LocalService) -> float:
    """When the next check has to be started; not while one runs, and not for one that ends."""
    idle = service.check is None and not service.retiring
    return service.machine.check_due if idle else math.inf


def _advertisement(config: ServiceConfig, claim: ServiceClaim) -> Advertisement:
    return Advertisement(
        Prefix.host(config.address),
        Kind.SERVICE,
        config.name.encode(),
        1,
        confirmed=True,
        since=claim.held_since // 1_000_000,
        service=claim,
    )


def _peer_view(peer: Peer) -> PeerView:
    session = peer.session
    importing = peer.receiver.is_importing
    state, received = session.state, session.status().last_received
    return PeerView(
        name=session.last_accepted_name or peer.config.name or session.peer,
        heard=state is PeerState.UP and not importing,
        pending=importing or state in (PeerState.SYNCING, PeerState.RESTARTING),
        last_heard=-math.inf if received is None else received,
        gone=session.has_shut_down,
    )
