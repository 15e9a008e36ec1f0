"""What becomes of news: from OpenVPN and from peers into the RIB, and from there on.

A shell without sockets: the RIB decides, the router carries it into the kernel, `say`
tells the peers. Large news are taken in slices, so that no other task waits for long.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import trio

from cuberouted.daemon.host import HostState, local_name, server_claims
from cuberouted.model import Advertisement, Kind, LocalRoute, Prefix, SupersededSession
from cuberouted.openvpn.sessions import SessionUpdate
from cuberouted.peering.events import PeerLost, PeerUpdate, RoutesChanged, RoutesReplaced
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.routing.kernel_sync import KernelSync
from cuberouted.routing.nexthops import Target
from cuberouted.routing.rib import Origin, Rib, RibChange, RibRoute, Source
from cuberouted.util.ratelimit import LogRateLimit

log = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK_ROUTES = 1000
"""Claims that are taken in without a pause: some five milliseconds of work."""

SELF = "cuberouted"
"""The instance that holds our own data addresses; no OpenVPN process is behind it."""

Announce = Callable[[Sequence[Advertisement], Sequence[Prefix]], None]
NotifySuperseded = Callable[[str, frozenset[SupersededSession]], None]


class Node:
    """One node of the mesh: its RIB, and the router that follows it.

    ``say`` tells the peers of our own claims. ``tell_superseded`` tells the watcher of an
    OpenVPN process which of its sessions have been superseded. ``instances``: our OpenVPN
    processes; only where there are several, local clients need routes. ``on_stale``: see
    `KernelSync`.
    """

    def __init__(
        self,
        name: str,
        instances: Sequence[str],
        kernel: KernelApi,
        metric: int,
        say: Announce,
        tell_superseded: NotifySuperseded,
        on_stale: Callable[[], None],
    ) -> None:
        self.instances = tuple(instances)
        self.host = HostState()
        self.rib = Rib(name, self.host.policy)
        self.kernel_sync = KernelSync(kernel, metric, self.target, on_stale)
        self._announce = say
        self._notify_superseded = tell_superseded
        self._notified: dict[str, frozenset[SupersededSession]] = {}
        self._log_limit = LogRateLimit()
        self.refused: Counter[str] = Counter()
        """Prefixes that were not believed, by peer."""

    def target(self, prefix: Prefix) -> Target | None:
        """Where *prefix* should lead: nowhere, if its client is here."""
        best = self.rib.best(prefix)
        if best is None:
            return None
        to_server = best.advertisement.kind is Kind.SERVER
        if not best.is_local:
            return Target(best.source.name, prefix.family, to_server)
        if to_server or len(self.instances) == 1:
            return None
        return Target(local_name(best.source.name), prefix.family, to_server=False)

    async def update_local(self, news: SessionUpdate) -> None:
        """The sessions of one of our OpenVPN processes have changed.

        The kernel follows before the peers are told: with DCO a stale route to another
        node cuts the client that has just come here off.
        """
        for claims, withdrawn in _slices(news.claims, news.withdrawn):
            await self._apply(self.rib.update_local(news.instance, claims, withdrawn))
            await trio.lowlevel.checkpoint()
        adopted = Source(Origin.PEER, local_name(news.instance))
        if news.complete and self.rib.adj_rib_in(adopted):
            await self._forget(adopted)  # what an earlier run of ours led to its device

    async def update_peer(self, news: PeerUpdate) -> None:
        """A peer has told us something, or will not tell anything any more."""
        source = Source(Origin.PEER, news.peer)
        match news:
            case RoutesChanged(node=node, advertise=advertise, withdraw=withdraw):
                await self._apply(self.rib.update_peer(source, node, advertise, withdraw))
            case RoutesReplaced(node=node, advertisements=advertisements):
                await self._replace(source, node, advertisements)
            case PeerLost():
                # its routes go by one message, 20,000 claims one by one
                async with self.kernel_sync.withdraw_first(source.name):
                    await self._forget(source)

    async def begin(
        self,
        surroundings: HostState,
        servers: Mapping[Prefix, str],
        adopted: Mapping[Target, Sequence[Prefix]],
    ) -> None:
        """Our start: *adopted* routes were in the kernel; each waits for its peer's word.

        All is known before anything is done, or routes that are right would go and come back.
        """
        outcome = self._apply_host_state(surroundings).merged(self._apply_static_servers(servers))
        for target, prefixes in adopted.items():
            kind = Kind.SERVER if target.to_server else Kind.CLIENT
            source = Source(Origin.PEER, target.name)
            outcome = outcome.merged(self.rib.adopt(source, kind, prefixes))
        outcome.changed_prefixes.update(
            dict.fromkeys(self.kernel_sync.fib.prefixes())
        )  # what nobody adopts goes
        await self._apply(outcome)

    async def interfaces_changed(
        self, surroundings: HostState, servers: Mapping[Prefix, str]
    ) -> None:
        """The links have changed: believe, reach and advertise accordingly.

        *servers*: data addresses and the peers that the configuration gives them to; they
        are routed whether or not those peers' daemons run.
        """
        await self._apply(
            self._apply_host_state(surroundings).merged(self._apply_static_servers(servers))
        )

    def _apply_host_state(self, surroundings: HostState) -> RibChange:
        before, self.host = self.host, surroundings
        outcome = RibChange.nothing()
        if surroundings.policy != before.policy:
            outcome = self.rib.apply_policy(surroundings.policy)
        claims = server_claims(self.rib.node, surroundings.own_data)
        gone = before.own_data - surroundings.own_data
        return outcome.merged(self.rib.update_local(SELF, claims, gone))

    def _apply_static_servers(self, servers: Mapping[Prefix, str]) -> RibChange:
        wanted = {prefix: Source(Origin.CONFIGURED, peer) for prefix, peer in servers.items()}
        outcome = RibChange.nothing()
        for source in self.rib.sources(Origin.CONFIGURED):
            gone = [p for p in self.rib.adj_rib_in(source) if wanted.get(p) != source]
            outcome = outcome.merged(self.rib.update_peer(source, source.name, (), gone))
        for prefix, source in wanted.items():
            outcome = outcome.merged(self.rib.adopt(source, Kind.SERVER, [prefix]))
        return outcome

    async def set_instances(self, instances: Sequence[str]) -> None:
        """These are our OpenVPN processes now: where there is a second, clients need routes."""
        if tuple(instances) != self.instances:
            self.instances = tuple(instances)
            await self.kernel_sync.sync([prefix for prefix, _ in self.rib.best_routes()])

    async def forget_instance(self, instance: str) -> None:
        """This OpenVPN process is no longer in the configuration."""
        held = tuple(self.rib.adj_rib_in(Source(Origin.LOCAL, instance)))
        await self.update_local(SessionUpdate(instance, (), held, complete=True))

    async def _replace(
        self, source: Source, node: str, advertisements: Sequence[Advertisement]
    ) -> None:
        for advertise in _batched(advertisements):
            await self._apply(self.rib.update_peer(source, node, advertise))
            await trio.lowlevel.checkpoint()
        said = {advertisement.prefix for advertisement in advertisements}
        await self._withdraw(source, [p for p in self.rib.adj_rib_in(source) if p not in said])

    async def _forget(self, source: Source) -> None:
        await self._withdraw(source, list(self.rib.adj_rib_in(source)))

    async def _withdraw(self, source: Source, prefixes: Sequence[Prefix]) -> None:
        # the router is told all at once: it removes a whole peer by one message
        outcome = RibChange.nothing()
        for withdrawn in _batched(prefixes):
            outcome = outcome.merged(self.rib.update_peer(source, source.name, (), withdrawn))
            await trio.lowlevel.checkpoint()
        await self._apply(outcome)

    async def _apply(self, outcome: RibChange) -> None:
        await self.kernel_sync.sync(outcome.changed_prefixes)
        if outcome.advertise or outcome.withdraw:
            self._announce(outcome.advertise, outcome.withdraw)
        self._report(outcome.refused)
        for instance in self.instances:
            superseded = self.rib.superseded(instance)
            if superseded != self._notified.get(instance, frozenset()):
                self._notified[instance] = superseded
                self._notify_superseded(instance, superseded)

    def _report(self, refused: Sequence[tuple[RibRoute, str]]) -> None:
        for claim, why in refused:
            whose = f"{claim.source.origin.value} {claim.source.name}".rstrip()
            if claim.source.origin is Origin.PEER:
                self.refused[claim.source.name] += 1
            quiet = self._log_limit.allow(whose, trio.current_time())
            if quiet is not None:
                log.warning(
                    "%s: %s refused: %s%s",
                    whose,
                    claim.advertisement.prefix,
                    why,
                    f" ({quiet} more refused since the last such line)" if quiet else "",
                )


def _batched(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + CHUNK_ROUTES] for start in range(0, len(items), CHUNK_ROUTES))


def _slices(
    claims: Sequence[LocalRoute], withdrawn: Sequence[Prefix]
) -> Iterator[tuple[Sequence[LocalRoute], Sequence[Prefix]]]:
    return itertools.zip_longest(_batched(claims), _batched(withdrawn), fillvalue=())
