"""One node of the mesh: local and peers' routes go into the RIB, and from there to the kernel
and to the peers.

A shell without sockets. Large updates are applied in chunks, so that other tasks run meanwhile.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import trio

from cuberouted.daemon.event_publisher import EventPublisher
from cuberouted.daemon.host import HostState
from cuberouted.events import Emit, OpenVPNWarningEnded, PrefixRefused
from cuberouted.model import Advertisement, Kind, Prefix, SupersededSession
from cuberouted.openvpn.sessions import SessionUpdate
from cuberouted.peering.events import (
    PeerLost,
    PeerUpdate,
    RoutesChanged,
    RoutesReplaced,
    known_as,
)
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.routing.kernel_sync import KernelSync
from cuberouted.routing.local_routes import LocalRoutes
from cuberouted.routing.neighbours import local_neighbour
from cuberouted.routing.nexthops import Target
from cuberouted.routing.policy import Policy, reason_label
from cuberouted.routing.rib import Origin, Rib, RibChange, RibRoute, Source
from cuberouted.service_claim import ServiceClaim
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

T = TypeVar("T")

CHUNK_ROUTES = 1000
"""Routes that are imported before other tasks run: some five milliseconds of work."""

SELF = "(self)"
"""The local source of our own data addresses. No OpenVPN process can be configured by this name."""

SERVICES = "(services)"
"""The local source of our own claims to services."""

Announce = Callable[[Sequence[Advertisement], Sequence[Prefix]], None]
NotifySuperseded = Callable[[str, frozenset[SupersededSession]], None]


class Node:
    """The RIB of one node, and the kernel that follows it.

    *instances*: names of the OpenVPN processes on this host. *announce* sends our own routes to
    the peers. *notify_superseded* passes the superseded sessions of an OpenVPN process on, all
    of them at each change. *on_out_of_sync*: see `KernelSync`.
    """

    def __init__(
        self,
        name: str,
        instances: Sequence[str],
        kernel: KernelApi,
        metric: int,
        announce: Announce,
        notify_superseded: NotifySuperseded,
        on_out_of_sync: Callable[[], None],
        emit: Emit,
        wall_clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.instances = tuple(instances)
        self.host = HostState()
        self.rib = Rib()
        self.kernel_sync = KernelSync(kernel, metric, on_out_of_sync, emit)
        self.event_publisher = EventPublisher(self.rib, self.kernel_sync.fib, emit, wall_clock)
        self.kernel_sync.on_traces = self.event_publisher.wake
        self.refused: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """How many prefixes the policy has refused: by peer, and by `policy.reason_label`."""
        self.all_listed = trio.Event()
        """Set once every OpenVPN process that has to run has been listed completely."""
        self.on_services_changed: Callable[[], None] = lambda: None
        """Called when a claim to a service has changed: ours, or another node's."""
        self.is_standby: Callable[[str], bool] = lambda _: False
        """Whether an OpenVPN process does not have to run here."""
        self._announce = announce
        self._notify_superseded = notify_superseded
        self._emit = emit
        self._local: dict[str, LocalRoutes] = {}
        self._listed: set[str] = set()
        self._refused_limit = LogRateLimit()
        self._refusing: set[str] = set()  # instances with a refused prefix, as published

    def target(self, prefix: Prefix) -> Target | None:
        """Where routes to *prefix* should lead; None if no route is needed."""
        best = self.rib.followed(prefix)
        if best is None:
            return None
        to_server = best.advertisement.kind is Kind.SERVER
        if not best.leads_here:
            return Target(best.source.name, prefix.family, to_server)
        if to_server or best.advertisement.service is not None:
            return None  # our own address
        if best.is_local and len(self.instances) == 1 and not self.rib.is_covered(prefix):
            return None  # OpenVPN's or the kernel's own route leads there, and none of ours away
        return Target(local_neighbour(best.source.name), prefix.family, to_server=False)

    def is_listed(self, instance: str) -> bool:
        """Whether OpenVPN process *instance* has been listed completely."""
        return instance in self._listed

    def superseded(self, instance: str) -> frozenset[SupersededSession]:
        """The sessions of OpenVPN process *instance* whose client has connected elsewhere."""
        return frozenset(
            SupersededSession(
                prefix,
                ours.advertisement.name,
                self._local[instance].session(prefix),
                local_neighbour(best.source.name) if best.is_local else best.node,
                best.advertisement.version,
            )
            for prefix, (ours, best) in self.rib.superseded(instance).items()
        )

    def claims(self, address: bytes) -> dict[str, ServiceClaim]:
        """The claims of the other nodes to the service with this address, by node."""
        return {
            route.node: claim
            for route in reversed(self.rib.services(Prefix.host(address)))
            if not route.is_local and (claim := route.advertisement.service) is not None
        }

    # -- updates of routes --

    async def update_local(self, update: SessionUpdate) -> None:
        """Apply changes of the sessions of one OpenVPN process on this host."""
        heard = trio.current_time()
        instance = update.instance
        source = Source(Origin.LOCAL, instance)
        local = self._local.setdefault(instance, LocalRoutes())
        for routes, withdrawn in _paired_chunks(update.routes, update.withdrawn):
            local.withdraw(withdrawn)
            advertise = local.advertisements(routes, self.rib.highest_version)
            change = self.rib.update(source, self.name, advertise, withdrawn)
            await self._apply(change, heard)
            await trio.lowlevel.checkpoint()
        if update.complete:
            adopted = Source(Origin.KERNEL, instance)
            if self.rib.adj_rib_in(adopted):  # sessions of an earlier run: confirmed, or gone
                await self._withdraw_all(adopted)
            self._listed.add(instance)
            self._check_all_listed()

    async def update_peer(self, update: PeerUpdate) -> None:
        """Apply what a peer has advertised, or that it is lost."""
        heard = trio.current_time()
        source = Source(Origin.PEER, update.peer)
        match update:
            case RoutesChanged(node=node, advertise=advertise, withdraw=withdraw):
                await self._apply(self.rib.update(source, node, advertise, withdraw), heard)
            case RoutesReplaced(node=node, advertisements=advertisements):
                await self._replace_all(source, node, advertisements)
            case PeerLost(peer=peer, why=why):
                # its kernel routes go by one message, before 20,000 RIB routes go one by one
                async with self.kernel_sync.withdraw_first(source.name):
                    await self._withdraw_all(source, f"peer {peer}: {why}")

    async def update_services(self, advertisements: Sequence[Advertisement]) -> None:
        """These are our claims to services now, all of them."""
        source = Source(Origin.LOCAL, SERVICES)
        wanted = {advertisement.prefix for advertisement in advertisements}
        gone = [prefix for prefix in self.rib.adj_rib_in(source) if prefix not in wanted]
        await self._apply(self.rib.update(source, self.name, advertisements, gone))
        self._check_all_listed()

    async def set_instances(self, instances: Sequence[str]) -> None:
        """These are the OpenVPN processes now. With a second one, local clients need routes."""
        if tuple(instances) == self.instances:
            return
        for instance in set(self.instances).difference(instances):
            withdrawn = tuple(self.rib.adj_rib_in(Source(Origin.LOCAL, instance)))
            await self.update_local(SessionUpdate(instance, (), withdrawn, complete=True))
            self._listed.discard(instance)
            del self._local[instance]
        self.instances = tuple(instances)
        self._check_all_listed()
        await self._retarget([prefix for prefix, _ in self.rib.best_routes()])

    # -- updates of this host --

    async def start(
        self,
        host: HostState,
        servers: Mapping[Prefix, str],
        adopted: Mapping[Target, Sequence[Prefix]],
    ) -> None:
        """Begin with the routes *adopted* from the kernel; each stays until its peer advertises.

        All routes are put into the RIB before the kernel is changed, or right ones would be
        deleted and added again.
        """
        self.host = host
        self.rib.policy = host.policy
        change = self._apply_own_addresses(frozenset(), host.own_data)
        change.add(self._apply_static_servers(servers))
        here = {local_neighbour(instance): instance for instance in self.instances}
        for target, prefixes in adopted.items():
            kind = Kind.SERVER if target.to_server else Kind.CLIENT
            source, node = Source(Origin.PEER, target.name), target.name
            if target.name in here:
                source, node = Source(Origin.KERNEL, here[target.name]), self.name
            change.add(self.rib.adopt(source, node, kind, prefixes))
        # installed routes that nothing has adopted are removed
        change.changed_prefixes.update(dict.fromkeys(self.kernel_sync.fib.prefixes()))
        await self._apply(change)

    async def interfaces_changed(self, host: HostState, servers: Mapping[Prefix, str]) -> None:
        """Apply a new *host* state: policy, own data addresses, and where neighbours are.

        *servers*: the data addresses that the configuration assigns to peers. They get routes
        whether or not those peers' daemons run.
        """
        before, self.host = self.host, host
        if host.policy != before.policy:
            await self._apply_policy(host.policy)
        change = self._apply_own_addresses(before.own_data, host.own_data)
        change.add(self._apply_static_servers(servers))
        await self._apply(change)

    async def _apply_policy(self, policy: Policy) -> None:
        # an update that is received between two chunks is imported under the new policy already
        self.rib.policy = policy
        for origin in Origin:
            for source in self.rib.sources(origin):
                for prefixes in _chunks(tuple(self.rib.adj_rib_in(source))):
                    await self._apply(self.rib.reevaluate(source, prefixes))
                    await trio.lowlevel.checkpoint()

    def _apply_own_addresses(
        self, before: frozenset[Prefix], addresses: frozenset[Prefix]
    ) -> RibChange:
        name = self.name.encode()
        advertise = [Advertisement(p, Kind.SERVER, name, 1, confirmed=True) for p in addresses]
        source = Source(Origin.LOCAL, SELF)
        return self.rib.update(source, self.name, advertise, before - addresses)

    def _apply_static_servers(self, servers: Mapping[Prefix, str]) -> RibChange:
        wanted = {prefix: Source(Origin.CONFIGURED, peer) for prefix, peer in servers.items()}
        change = RibChange.empty()
        for source in self.rib.sources(Origin.CONFIGURED):
            gone = [p for p in self.rib.adj_rib_in(source) if wanted.get(p) != source]
            change.add(self.rib.update(source, source.name, (), gone))
        for prefix, source in wanted.items():
            change.add(self.rib.adopt(source, source.name, Kind.SERVER, [prefix]))
        return change

    # -- from the RIB onwards --

    async def _replace_all(
        self, source: Source, node: str, advertisements: Sequence[Advertisement]
    ) -> None:
        heard = trio.current_time()
        for advertise in _chunks(advertisements):
            await self._apply(self.rib.update(source, node, advertise), heard)
            await trio.lowlevel.checkpoint()
        kept = {advertisement.prefix for advertisement in advertisements}
        await self._withdraw(source, [p for p in self.rib.adj_rib_in(source) if p not in kept])

    async def _withdraw_all(self, source: Source, why: str = "") -> None:
        routes = self.rib.adj_rib_in(source)
        # services first: this node may have to take them over, and 20,000 clients take a while
        services = [p for p, route in routes.items() if route.advertisement.service is not None]
        if services:
            await self._withdraw(source, services, why)
        await self._withdraw(source, list(routes), why)

    async def _withdraw(self, source: Source, prefixes: Sequence[Prefix], why: str = "") -> None:
        # the kernel follows at the end, because it removes all routes of a peer by one message
        change = RibChange.empty()
        for withdrawn in _chunks(prefixes):
            change.add(self.rib.update(source, source.name, (), withdrawn))
            await trio.lowlevel.checkpoint()
        await self._apply(change, why=why)

    async def _apply(self, change: RibChange, heard: float | None = None, *, why: str = "") -> None:
        """Carry *change* on: to the kernel first, then to the peers, then to the events.

        *heard*: when its news came; None: just now. *why*: see `EventPublisher.changed`.

        With DCO a stale route to another node cuts off a client that has just connected here,
        so its removal comes first.
        """
        heard = trio.current_time() if heard is None else heard
        await self._retarget(await self._in_order(change))
        if change.advertise or change.withdraw:
            self._announce(change.advertise, change.withdraw)
        if change.changed_prefixes:
            self.event_publisher.changed(change.changed_prefixes, heard, why)
        if change.services:
            self.on_services_changed()
        if change.alternatives:
            self.event_publisher.alternatives_changed(change.alternatives)
        self._publish_refused(change.refused)
        for instance in tuple(self._refusing):
            if not self.rib.refused(Source(Origin.LOCAL, instance)):
                self._refusing.remove(instance)
                self._emit(OpenVPNWarningEnded(openvpn=instance, what="refused prefixes"))
        for instance in change.superseded.intersection(self._local):
            self._notify_superseded(instance, self.superseded(instance))

    async def _in_order(self, change: RibChange) -> Sequence[Prefix]:
        """What to retarget: a local prefix is routed before the network around it, and after it.

        So its client is reached all the time.
        """
        before: list[Prefix] = []
        after: list[Prefix] = []
        for chunk in _chunks(tuple(change.inside)):
            for prefix in chunk:
                (before if self.rib.is_covered(prefix) else after).append(prefix)
            if len(chunk) == CHUNK_ROUTES:
                await trio.lowlevel.checkpoint()
        # an adopted route can go without a change of the best one: `Rib.followed`
        return (*before, *change.changed_prefixes, *after, *change.services)

    async def _retarget(self, prefixes: Sequence[Prefix]) -> None:
        for chunk in _chunks(prefixes):
            self.kernel_sync.request({prefix: self.target(prefix) for prefix in chunk})
            if len(chunk) == CHUNK_ROUTES < len(prefixes):
                await trio.lowlevel.checkpoint()
        await self.kernel_sync.sync()

    def _check_all_listed(self) -> None:
        if all(name in self._listed or self.is_standby(name) for name in self.instances):
            self.all_listed.set()

    def _publish_refused(self, refused: Sequence[tuple[RibRoute, str]]) -> None:
        for route, why in refused:
            name = route.source.name
            if route.source.origin is Origin.PEER:
                name = known_as(name, route.node)
            subject = f"{route.source.origin.value} {name}".rstrip()
            if route.source.origin is Origin.PEER:
                self.refused[route.source.name][reason_label(why)] += 1
            elif name in self._local:
                self._refusing.add(name)
                subject = f"openvpn {name}".rstrip()
            # a peer with thousands of them shall not push all other events out of the ring
            suppressed = self._refused_limit.allow(subject, trio.current_time())
            if suppressed is not None:
                address = route.advertisement.prefix.short
                note = suppressed_note(suppressed)
                self._emit(PrefixRefused(source=subject, address=address, why=f"{why}{note}"))


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + CHUNK_ROUTES] for start in range(0, len(items), CHUNK_ROUTES))


def _paired_chunks(
    routes: Sequence[T], withdrawn: Sequence[Prefix]
) -> Iterator[tuple[Sequence[T], Sequence[Prefix]]]:
    return itertools.zip_longest(_chunks(routes), _chunks(withdrawn), fillvalue=())
