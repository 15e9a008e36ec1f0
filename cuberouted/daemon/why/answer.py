"""Collects what `cuberouted why` reports: of the RIB, the FIB, the peers and the kernel.

A shell around `verdict` and `report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import attrs
import trio

from cuberouted.api import report_why as report
from cuberouted.api.http import Endpoint, HttpError, Request
from cuberouted.daemon.daemon import Daemon, Peer
from cuberouted.daemon.why.facts import MeshFacts, OwnRoute, PeerFacts
from cuberouted.daemon.why.kernel import Place, addresses_in, around, collect, own_routes
from cuberouted.daemon.why.names import name_of, routes_of, similar
from cuberouted.daemon.why.report import explain
from cuberouted.events import RouteChanged
from cuberouted.model import Prefix
from cuberouted.peering.events import PeerState
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.neighbours import local_neighbour
from cuberouted.routing.rib import Origin, RibRoute, Source
from cuberouted.routing.types import ForeignRoute

MAX_EXPLAINED = 4
"""Addresses of one name that are explained; of more, only a list is returned."""

MAX_MATCHES = 20
"""Addresses or names in a list."""

MAX_CLIENTS = 100
"""Clients that are tried to find one which may be the source of a forwarded packet."""


def endpoint(daemon: Daemon) -> Endpoint:
    """Its endpoint in the API."""

    async def get_why(request: Request) -> report.Why:
        try:
            return await why(daemon, request.argument)
        except KernelError as error:
            raise HttpError(503, f"kernel: {error}") from None

    return Endpoint(
        "GET",
        "/v1/why/{target}",
        get_why,
        reply=report.Why,
        summary="Where packets to an address or a client go from here, and why.",
        argument="An address, a network, or the name of a client, server or service.",
        errors={503: "The kernel did not answer; ask again."},
    )


async def why(daemon: Daemon, target: str) -> report.Why:
    """The answer on an address, a network, or the name of a client, server or service.

    Raises:
      KernelError: the kernel did not answer.
    """
    try:
        found = [await explain_address(daemon, Prefix.parse(target))]
    except ValueError:
        routes = await routes_of(daemon.node.rib, target)
        if len(routes) > MAX_EXPLAINED:
            return _too_many(daemon, target, routes)
        found = [
            await explain_address(daemon, prefix, routes[prefix].advertisement.name)
            for prefix in sorted(routes)
        ]
        peers = (p for p in daemon.peers.values() if not found and target in _names(p))
        for peer in islice(peers, 1):  # nothing is known of it but where it is
            found.append(await explain_address(daemon, Prefix.host(peer.config.mgmt_ip)))
        if not found:
            return await _unknown(daemon, target)
    found.sort(key=lambda one: one.reached)  # so that the first line agrees with the exit status
    first, node = found[0], daemon.config.node
    return report.Why(target, node, first.reached, first.verdict, first.advice, addresses=found)


async def explain_address(
    daemon: Daemon, prefix: Prefix, asked: bytes | None = None
) -> report.WhyAddress:
    """Everything on one address or network. *asked*: the common name by which it was found.

    Raises:
      KernelError: the kernel did not answer.
    """
    node, fib = daemon.node, daemon.node.kernel_sync.fib
    place = Place.of(daemon.config)
    claims = [claim for network in around(prefix) for claim in node.rib.claims(network)]
    best = next((claim.route for claim in claims if not claim.refused), None)
    own = own_routes(place, prefix, fib.installed, fib.nexthops.installed)
    kernel = await collect(
        daemon.environment.kernel,
        place,
        prefix,
        dict(_sources(daemon, prefix, best)),
        [_own_route(daemon, route) for route in own],
        daemon.foreign_routes.around(prefix),
    )
    now = trio.current_time()
    mesh = MeshFacts(
        now=daemon.environment.wall_clock(),
        claims=claims,
        peer=_peer_of(daemon, prefix, best, now),
        unheard=[
            _peer_facts(daemon, peer, now)
            for peer in daemon.peers.values()
            if peer.session.state is not PeerState.UP
        ],
        allowed=node.rib.policy.allowed,
        asked=asked,
    )
    return explain(mesh if best is None else _with_way(daemon, best, mesh), kernel)


def _with_way(daemon: Daemon, best: RibRoute, mesh: MeshFacts) -> MeshFacts:
    """*mesh* with where the *best* claim leads."""
    node, sync, name = daemon.node, daemon.node.kernel_sync, best.source.name
    prefix = best.advertisement.prefix
    missing = node.target(prefix) is not None and prefix not in sync.fib.installed
    mesh = attrs.evolve(
        mesh,
        nexthop=node.host.nexthops.get(
            (local_neighbour(name) if best.leads_here else name, prefix.family)
        ),
        pending=sync.is_pending(prefix) or (missing and prefix not in sync.fib.refused()),
    )
    if not best.leads_here:
        peer = daemon.peers.get(name)
        return attrs.evolve(mesh, interface=peer.config.mgmt_interface if peer else "")
    openvpn = daemon.openvpns.get(name)
    if openvpn is None:  # an address of our own, or a process that a reload has just removed
        return mesh
    state = openvpn.source.status().state
    return attrs.evolve(mesh, interface=openvpn.config.data_interface, openvpn=state)


def _own_route(daemon: Daemon, route: ForeignRoute) -> OwnRoute:
    address = route.prefix.short
    since = daemon.node.kernel_sync.fib.installed_since().get(route.prefix)
    event = daemon.events.newest(RouteChanged, lambda e: e.address == address)
    return OwnRoute(
        route,
        None if since is None else trio.current_time() - since,
        None if event is None else (event.trace, event.time),
    )


def _peer_of(daemon: Daemon, prefix: Prefix, best: RibRoute | None, now: float) -> PeerFacts | None:
    if best is not None:
        peer = None if best.leads_here else daemon.peers.get(best.source.name)
    else:
        same = (p for p in daemon.peers.values() if Prefix.host(p.config.mgmt_ip) == prefix)
        peer = next(same, None)
    return None if peer is None else _peer_facts(daemon, peer, now)


def _peer_facts(daemon: Daemon, peer: Peer, now: float) -> PeerFacts:
    status = peer.session.status()
    start = f"peer {peer.config.label}: "
    problems = (e.removeprefix(start) for e in daemon.node.host.errors if e.startswith(start))
    return PeerFacts(
        name=peer.config.name or peer.session.node or peer.config.label,
        known_as=peer.session.known_as,
        state=status.state.value,
        last_heard=None if status.last_received is None else now - status.last_received,
        detail=status.detail,
        interface=peer.config.mgmt_interface,
        mgmt_ip=peer.config.mgmt_ip,
        data_ip=peer.config.data_ip,
        problem=next(problems, ""),
    )


# -- sources of forwarded packets --


def _sources(daemon: Daemon, prefix: Prefix, best: RibRoute | None) -> Iterator[tuple[str, bytes]]:
    """Interfaces from which packets to *prefix* are forwarded, with a source that is there.

    From the clients of this host; and to a client of this host, from the peers.
    """
    for openvpn in daemon.openvpns.values():
        interface = openvpn.config.data_interface
        local = Source(Origin.LOCAL, openvpn.config.name)
        source = _client_of(daemon, local, prefix) or _address_on(daemon, interface, prefix)
        if source is not None:
            yield interface, source
    for peer in daemon.peers.values() if best is not None and best.leads_here else ():
        source = _client_of(daemon, Source(Origin.PEER, peer.config.label), prefix)
        if source is not None:
            yield peer.config.mgmt_interface, source


def _client_of(daemon: Daemon, of: Source, prefix: Prefix) -> bytes | None:
    """An address that is reached at *of* now, and is not in *prefix*."""
    rib = daemon.node.rib
    for candidate in islice(rib.adj_rib_in(of), MAX_CLIENTS):
        best = rib.best(candidate)
        if (
            candidate.is_host
            and candidate.family == prefix.family
            and not prefix.contains(candidate)
            and best is not None
            and best.source == of
        ):
            return candidate.address
    return None


def _address_on(daemon: Daemon, interface: str, prefix: Prefix) -> bytes | None:
    """An address of the clients' networks on *interface* that nobody has."""
    rib, host = daemon.node.rib, daemon.node.host
    for network in host.networks.get(interface, ()):
        for address in addresses_in(network) if network.family == prefix.family else ():
            candidate = Prefix.host(address)
            taken = rib.best(candidate) is not None or address in host.policy.own_addresses
            if not taken and not prefix.contains(candidate):
                return address
    return None


# -- names --


def _names(peer: Peer) -> Sequence[str | None]:
    return peer.config.label, peer.config.name, peer.session.node


def _too_many(daemon: Daemon, target: str, routes: Mapping[Prefix, RibRoute]) -> report.Why:
    return report.Why(
        target,
        daemon.config.node,
        reached=False,
        verdict=f"{target} has {len(routes)} addresses",
        advice="ask for one address: `cuberouted why ADDRESS`",
        matches=[_match(routes[prefix]) for prefix in sorted(routes)[:MAX_MATCHES]],
    )


async def _unknown(daemon: Daemon, target: str) -> report.Why:
    near = await similar(daemon.node.rib, target, MAX_MATCHES)
    question = "; did you mean one of these?" if near else ", here or at any peer"
    return report.Why(
        target,
        daemon.config.node,
        reached=False,
        verdict=f"no client, server or service is called {target}{question}",
        advice="" if near else "`cuberouted clients` lists who is connected, and where",
        matches=[_match(route) for route in near],
    )


def _match(route: RibRoute) -> report.WhyMatch:
    return report.WhyMatch(route.advertisement.prefix.short, name_of(route), route.node)
