"""Runs the shared service addresses of this node.

One `ServiceMachine` a service decides; this task shows it what is known, and carries out what it
returns, in order: the address is there before the claim says so, and gone before it says that. It
looks again at each change and when a machine is due; nothing polls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

import trio

from cuberouted.config import Config, ServiceConfig
from cuberouted.daemon import service_rows
from cuberouted.daemon.local_service import LocalService
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

STOP_TIMEOUT = 8.0
"""Seconds for all on_release when the daemon stops. An OpenVPN with explicit-exit-notify takes
nearly 4 s to end. systemd waits 20 s (TimeoutStopSec=)."""

MIN_LOOK_INTERVAL = 0.001
"""Seconds between two looks at a machine that is due again at once."""

MAX_LOOKS = 3
"""Looks at one service in a row, because the address could not be added."""

MAX_TRACKED = 1000
"""Services of the mesh whose moves are published."""


class Services:
    """The services of *daemon*'s node. Call `run` once, `stop` at the end.

    ``local``: of this node's sections, also those that are being given up.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.local: list[LocalService] = []
        config = daemon.config
        self.addresses = ServiceAddresses(
            daemon.environment.kernel, config.service_interface, daemon.events.publish
        )
        self._daemon = daemon
        self._emit = daemon.events.publish
        self._tracker = ServiceTracker()
        self._configs = config.services
        self._announced: tuple[Advertisement, ...] = ()
        self._wakeup = Signal()
        self._stopping = False
        self._released = trio.Event()
        self._settled = False
        self._task = CancellableTask()
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
            service.failed.clear()
            if new is None:
                service.retire(now)
            elif not service.retiring:
                service.machine.reconfigure(new, now)
        self.addresses.links_changed()  # and remove what no section has any more
        self.wake()

    async def stop(self) -> None:
        """The daemon stops: give everything up, or leave the addresses where the routes stay.

        Takes little more than STOP_TIMEOUT at most.
        """
        self._stopping = True
        if self._daemon.keeps_routes:
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
        async with trio.open_nursery() as nursery:
            while True:
                await self._look(nursery)
                if self._stopping and not self.local:
                    break
                due = max(self._deadline(), trio.current_time() + MIN_LOOK_INTERVAL)
                with trio.move_on_at(due):
                    await self._wakeup.wait()
        self._released.set()

    def _deadline(self) -> float:
        daemon = self._daemon
        machines = (min(s.check_due, s.machine.deadline) for s in self.local)
        settles = math.inf if self._settled else daemon.initial_sync_ends
        return min(self.addresses.deadline, self._tracker.deadline, settles, *machines, math.inf)

    async def _look(self, nursery: trio.Nursery) -> None:
        """Look at everything, and do what follows."""
        self._settled = self._settled or self._is_settled()
        await self.addresses.refresh({s.config.address for s in self.local} | self._wanted)
        if self.addresses.known:
            self._start_missing()
            for service in tuple(self.local):
                await self._look_at(service, nursery)
                await trio.lowlevel.checkpoint()
            self.local = [s for s in self.local if not self._is_over(s)]
            await self._announce()
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
        node, environment = self._daemon.config.node, self._daemon.environment
        for config in self._configs:
            if config.address not in addresses and config.name not in names:
                now = trio.current_time()
                machine = ServiceMachine(config, node, environment.wall_clock, now)
                run = environment.run_command
                self.local.append(LocalService(machine, run, self._variables(config), self.wake))

    def _is_over(self, service: LocalService) -> bool:
        """Whether it is given up, and its claim can be withdrawn."""
        address = service.config.address
        if not service.retiring or not service.machine.is_released or address in self.addresses:
            return False
        service.cancel()
        return True

    async def _look_at(self, service: LocalService, nursery: trio.Nursery) -> None:
        """Show *service* what is known, and carry out what it returns."""
        machine, config = service.machine, service.config
        for _ in range(MAX_LOOKS):
            actions = machine.receive(self._view(config), trio.current_time())
            done = await self.addresses.set(config.name, config.address, present=actions.address)
            if done:
                service.advertised(actions.claim)
                await self._announce()
            if actions.run is not None:
                service.start(actions.run, nursery)
            if actions.kill:
                service.kill()
            for event in actions.events:
                self._emit(event)
            if done or not actions.address:  # what is still there keeps its claim
                break
        if trio.current_time() >= service.check_due:
            service.start_check(nursery)

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
            settled=self._settled,
            available=daemon.maintenance.is_active,
            has_address=config.address in self.addresses,
            address_error=self.addresses.error(config.address),
            witness_time=daemon.config.hold_time - daemon.config.heartbeat_interval,
        )

    def _is_settled(self) -> bool:
        """Whether all that the peers had to tell at the start is known, or waited for no longer."""
        daemon = self._daemon
        if trio.current_time() >= daemon.initial_sync_ends:
            return True
        peers = daemon.peers.values()
        known = all(p.session.has_been_up and not p.receiver.is_importing for p in peers)
        return known and len(peers) == len(daemon.config.peers)

    def _track(self) -> None:
        """Publish where services are now, if they were elsewhere."""
        now, rib = trio.current_time(), self._daemon.node.rib
        problems, seen = self._peer_problems(), set()
        for prefix in islice(rib.service_prefixes(), MAX_TRACKED):
            routes = rib.services(prefix)
            best = routes[0].advertisement
            service = Service(printable_name(best.name), prefix.short)
            claims = {r.node: c for r in routes if (c := r.advertisement.service) is not None}
            has_it = best.service is not None and best.service.phase.has_address
            self._move(service, routes[0].node if has_it else "", claims, problems)
            seen.add(service)
        for service in self._tracker.services:
            if service not in seen:
                self._move(service, "", {}, problems)
        for event in self._tracker.timer(now):
            self._emit(event)

    def _move(
        self,
        service: Service,
        node: str,
        claims: dict[str, ServiceClaim],
        problems: dict[str, str],
    ) -> None:
        if not self._settled:
            self._tracker.learn(service, node)
            return
        now = trio.current_time()
        for event in self._tracker.receive(service, node, claims, problems, now):
            self._emit(event)

    def _peer_problems(self) -> dict[str, str]:
        """Why the peers that are not up are not, by node."""
        sessions = (peer.session for peer in self._daemon.peers.values())
        return {
            s.last_accepted_name or s.peer: s.why for s in sessions if s.state is not PeerState.UP
        }

    def _variables(self, config: ServiceConfig) -> Callable[[Run], dict[str, str]]:
        """What makes the variables of a command of *config*."""
        node, address = self._daemon.config.node, format_address(config.address)
        service = Service(config.name, address)

        def variables(run: Run) -> dict[str, str]:
            env = {
                "CUBEROUTED_SERVICE": config.name,
                "CUBEROUTED_ADDRESS": address,
                "CUBEROUTED_NODE": node,
                "CUBEROUTED_INTERFACE": self.addresses.interface,
            }
            if run.program is Program.FENCE:
                env["CUBEROUTED_PEER"] = run.peer
            before = self._tracker.last_holder(service)
            if run.program is Program.ON_ACQUIRE and before not in ("", node):
                env["CUBEROUTED_FROM_NODE"] = before
            return env

        return variables


def _key(config: ServiceConfig) -> tuple[str, bytes]:
    """A service with another name or address is another one."""
    return config.name, config.address


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
    state, importing = session.state, peer.receiver.is_importing
    return PeerView(
        name=session.last_accepted_name or peer.config.name or session.peer,
        heard=state is PeerState.UP and not importing,
        pending=importing or state in (PeerState.SYNCING, PeerState.RESTARTING),
        last_heard=session.last_heard,
        gone=session.has_shut_down,
    )
