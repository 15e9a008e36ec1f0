"""The endpoints of the API, and those that reply with the state of the daemon at that moment.

Long lists are in `listings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import nsmallest
from itertools import islice

import msgspec
import trio

from cuberouted.api import report
from cuberouted.api.http import Endpoint, HttpError, Parts, Request
from cuberouted.api.selection import NodeQuery, Query, Selection, SelectionError
from cuberouted.daemon import (
    disconnect,
    event_stream,
    graceful_restart,
    maintenance_endpoints,
    peer_check,
    service_rows,
)
from cuberouted.daemon.daemon import Daemon, OpenVPN, Peer
from cuberouted.daemon.listings import clients, count_clients, route_infos
from cuberouted.daemon.node_info import own_info, with_state
from cuberouted.daemon.readiness import reasons_not_ready
from cuberouted.daemon.standby import missing_interfaces, why_standby
from cuberouted.daemon.why import answer
from cuberouted.model import NodeInfo, NodeState, Prefix, format_address, in_words, printable_name
from cuberouted.peering.events import PeerState, not_received
from cuberouted.routing.policy import OUTSIDE
from cuberouted.routing.rib import Origin, RibRoute, Source

MAX_PROBLEMS = 20
"""Problems of one kind that are listed one by one."""
MAX_REASON_SHOWN = 60
"""Characters of a reason in the one line for systemd."""


def endpoints(daemon: Daemon) -> tuple[Endpoint, ...]:
    """What the API serves. One more: an `Endpoint` here, with all that describes it.

    `make schemas` then writes docs/openapi.json and docs/schemas/ anew, and
    tests/unit/test_openapi.py holds its replies against them.
    """

    async def get_status(_request: Request) -> report.Status:
        return status(daemon)

    async def get_clients(request: Request) -> Parts:
        return clients(daemon.node.rib, _selection(request, Query))

    async def get_routes(request: Request) -> Parts:
        return route_infos(daemon, _selection(request, Query))

    async def get_nodes(request: Request) -> report.Nodes:
        return await nodes(daemon, _selection(request, NodeQuery))

    return (
        Endpoint(
            "GET",
            "/v1/status",
            get_status,
            reply=report.Status,
            summary="This node, its OpenVPN processes, its peers, and what is wrong.",
        ),
        Endpoint(
            "GET",
            "/v1/clients",
            get_clients,
            parameters=Query,
            reply=report.Clients,
            summary="Every client in the mesh and every network behind one, sorted by address.",
        ),
        Endpoint(
            "GET",
            "/v1/routes",
            get_routes,
            parameters=Query,
            reply=report.RouteInfos,
            summary="What the daemon knows of the routes that it has installed.",
        ),
        Endpoint(
            "GET",
            "/v1/nodes",
            get_nodes,
            parameters=NodeQuery,
            reply=report.Nodes,
            summary="Every node of the mesh as this one sees it.",
        ),
        service_rows.endpoint(daemon),
        disconnect.endpoint(daemon),
        *maintenance_endpoints.endpoints(daemon),
        graceful_restart.endpoint(daemon),
        peer_check.endpoint(daemon),
        event_stream.endpoint(daemon.events),
        answer.endpoint(daemon),
    )


def _selection(request: Request, kind: type[NodeQuery]) -> Selection:
    try:
        return Selection.of(**msgspec.structs.asdict(request.parameters(kind)))
    except SelectionError as error:
        raise HttpError(400, str(error)) from None


def status(daemon: Daemon) -> report.Status:
    """This node, its OpenVPN processes, its peers."""
    now, fib = trio.current_time(), daemon.node.kernel_sync.fib
    row = report.Status(
        node=daemon.config.node,
        uptime=round(now - daemon.started_at, 1),
        openvpn=[_openvpn_row(daemon, openvpn) for openvpn in daemon.openvpns.values()],
        peers=[_peer_row(daemon, peer, now) for peer in daemon.peers.values()],
        routes=report.RouteCounts(
            desired=fib.desired_count,
            installed=fib.installed_count,
            conflicts=conflicting_routes(daemon),
        ),
        problems=list(problems(daemon)),
        warnings=list(warnings(daemon)),
        rejected_connections=daemon.rejected_connections,
        keeps_routes_for=daemon.exit_policy.seconds_left(),
    )
    return with_state(row, own_info(daemon))


def conflicting_routes(daemon: Daemon) -> int:
    """How many routes of ours foreign ones cut off or keep out."""
    cut_off = daemon.foreign_routes.cut_off
    refused = daemon.node.kernel_sync.fib.refused()
    return len(cut_off) + sum(prefix not in cut_off for prefix in refused)


async def nodes(daemon: Daemon, selection: Selection) -> report.Nodes:
    """This node, and then its peers, as it sees them."""
    clients = await count_clients(daemon.node.rib)
    now, name = trio.current_time(), daemon.config.node
    peers = sorted(daemon.peers.values(), key=_peer_name)
    rows = [_own_row(daemon, clients), *(_node_row(peer, clients, now) for peer in peers)]
    return report.Nodes(name, [row for row in rows if selection.matches(row.name, "")])


def _own_row(daemon: Daemon, clients: Mapping[str, int]) -> report.NodeRow:
    name = daemon.config.node
    row = report.NodeRow(
        name=name,
        local=True,
        state="running",
        clients=clients.get(name, 0),
        last_heard=None,
        address=None,
        interface=None,
        encrypted=None,
        openvpn=[_openvpn_row(daemon, openvpn) for openvpn in daemon.openvpns.values()],
        available=not reasons_not_ready(daemon),
    )
    return _with_info(row, own_info(daemon))


def _node_row(peer: Peer, clients: Mapping[str, int], now: float) -> report.NodeRow:
    session, name = peer.session.status(), _peer_name(peer)
    received = session.last_received
    info = peer.session.info
    row = report.NodeRow(
        name=name,
        local=False,
        state=session.state.value,
        clients=clients.get(name, 0),
        last_heard=None if received is None else round(now - received, 3),
        address=format_address(peer.config.mgmt_ip),
        interface=peer.config.mgmt_interface,
        encrypted=bool(peer.config.public_keys),
        available=(
            session.state is PeerState.UP and info is not None and info.state is NodeState.ACTIVE
        ),
    )
    return _with_info(row, info)


def _with_info(row: report.NodeRow, info: NodeInfo | None) -> report.NodeRow:
    if info is not None:
        row.counted, row.capacity, row.remotes = info.clients, info.capacity, list(info.remotes)
    return with_state(row, info)


def status_line(daemon: Daemon) -> str:
    """One line for `systemctl status`: what works, and what is still missing."""
    # built every second, so nothing here goes through all clients
    openvpns = [_openvpn_row(daemon, openvpn) for openvpn in daemon.openvpns.values()]
    peers = [peer for peer in daemon.peers.values() if peer.session.state is not PeerState.UP]
    missing = [
        *missing_interfaces(daemon),
        *(f"{o.name} ({o.state})" for o in openvpns if o.state not in {"connected", "standby"}),
        *(f"peer {peer.session.known_as} ({peer.session.state.value})" for peer in peers),
    ]
    local = sum(openvpn.clients for openvpn in openvpns)
    installed = daemon.node.kernel_sync.fib.installed_count
    summary = f"{report.pluralize(local, 'client')}, {report.pluralize(installed, 'route')}"
    info = own_info(daemon)
    if info.state is not NodeState.ACTIVE:
        why = f" ({info.reason[:MAX_REASON_SHOWN]})" if info.reason else ""
        summary = f"{in_words(info.state)}{why}, {summary}"
    return f"{summary}; waiting for {', '.join(missing)}" if missing else summary


def _openvpn_row(daemon: Daemon, openvpn: OpenVPN) -> report.OpenVPNRow:
    now, standby = openvpn.source.status(), why_standby(daemon, openvpn.config)
    return report.OpenVPNRow(
        name=now.name,
        state="standby" if standby else now.state,
        version=now.version or None,
        clients=now.clients,
        detail=standby or now.detail,
        counted=now.counted,
    )


def _peer_name(peer: Peer) -> str:
    return peer.config.name or peer.session.node or peer.config.label


def _peer_row(daemon: Daemon, peer: Peer, now: float) -> report.PeerRow:
    session = peer.session.status()
    received = session.last_received
    source = Source(Origin.PEER, session.peer)
    row = report.PeerRow(
        name=_peer_name(peer),
        state=session.state.value,
        clients=session.clients,
        last_heard=None if received is None else round(now - received, 3),
        detail=session.detail,
        encrypted=bool(peer.config.public_keys),
        refused=session.dropped + daemon.node.refused[session.peer].total(),
        known_as=peer.session.known_as,
        refused_prefixes=len(daemon.node.rib.refused(source)),
        unreceived_snapshots=daemon.unreceived_snapshots(session.peer),
    )
    return with_state(row, peer.session.info)


def problems(daemon: Daemon) -> Iterator[str]:
    """A sentence for each thing that is wrong, of each kind MAX_PROBLEMS at most."""
    # counted at each scrape of the metrics, so nothing here goes through all clients
    if daemon.refused_reload:
        why = "; ".join(daemon.refused_reload.splitlines())
        yield f"the last reload was refused, and the configuration before it is in use: {why}"
    missing = missing_interfaces(daemon)
    if missing:
        yield f"waiting for interface {', '.join(missing)}"
    yield from daemon.node.host.errors
    yield from (problem.why for problem in daemon.bind_problems)
    yield from (f"{what}: {why}" for what, why in daemon.api_problems.items())
    yield from (f"{what}: {why}" for what, why in daemon.maintenance.problems.items())
    for openvpn in daemon.openvpns.values():
        yield from _openvpn_problems(daemon, openvpn)
    for peer in daemon.peers.values():
        yield from _peer_problems(daemon, peer)
    yield from islice(service_rows.problems(daemon), MAX_PROBLEMS)
    foreign = daemon.foreign_routes
    yield from islice(foreign.conflicts.values(), MAX_PROBLEMS)
    if len(foreign.conflicts) > MAX_PROBLEMS:
        more = len(foreign.conflicts) - MAX_PROBLEMS
        yield f"{more} more foreign routes carry packets elsewhere"
    refused = daemon.node.kernel_sync.fib.refused()
    for prefix in nsmallest(MAX_PROBLEMS, refused.keys() - foreign.cut_off):
        yield f"route {prefix}: {refused[prefix]}"
    if foreign.intruders:
        yield foreign.intruders
    for best, other in islice(daemon.node.rib.address_conflicts(), MAX_PROBLEMS):
        yield _address_conflict(best, other)


def warnings(daemon: Daemon) -> Iterator[str]:
    """A sentence for each thing that may be wrong."""
    for openvpn in daemon.openvpns.values():
        now = openvpn.source.status()
        for sentence in now.warnings:
            yield f"{now.name}: {sentence}"


def _openvpn_problems(daemon: Daemon, openvpn: OpenVPN) -> Iterator[str]:
    now = openvpn.source.status()
    for sentence in now.omissions:
        yield f"{now.name}: {sentence}"
    refused = daemon.node.rib.refused(Source(Origin.LOCAL, openvpn.config.name))
    if refused and _is_policy_known(daemon):
        cure = "; if clients use it, add it there on every server"
        outside = next(reversed(refused.values())) == OUTSIDE
        yield f"{now.name}: not shared: {_refused(refused)}{cure if outside else ''}"


def _is_policy_known(daemon: Daemon) -> bool:
    # while the data interface is missing, that is the cause, and it is told already
    return bool(daemon.node.rib.policy.allowed) or not daemon.node.host.missing


def _refused(refused: dict[Prefix, str]) -> str:
    prefix = next(reversed(refused))
    return f"{_prefixes(len(refused))} refused, last {prefix.short}: {refused[prefix]}"


def _prefixes(number: int) -> str:
    return "1 prefix" if number == 1 else f"{number} prefixes"


def _peer_problems(daemon: Daemon, peer: Peer) -> Iterator[str]:
    name = peer.session.known_as
    unreceived = daemon.unreceived_snapshots(peer.session.peer)
    if unreceived:
        yield f"peer {name}: {not_received(unreceived, peer.config.mgmt_interface)}"
    refused = daemon.node.rib.refused(Source(Origin.PEER, peer.session.peer))
    if refused and _is_policy_known(daemon):
        yield f"peer {name}: {_refused(refused)}"


def _address_conflict(best: RibRoute, other: RibRoute) -> str:
    return (
        f"{best.advertisement.prefix.short} has two clients:"
        f" {printable_name(best.advertisement.name)} at {best.node} and"
        f" {printable_name(other.advertisement.name)} at {other.node}: their address pools overlap"
    )
