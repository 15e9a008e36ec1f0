"""What a running daemon answers on its control socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import trio

from cuberouted.api import report
from cuberouted.api.server import Handlers
from cuberouted.daemon.daemon import Daemon, OpenVPN, Peer
from cuberouted.model import printable_name
from cuberouted.peering.events import PeerState
from cuberouted.routing.rib import RibRoute

MAX_PROBLEMS = 20
"""Problems of one kind that are listed one by one."""


def handlers(daemon: Daemon) -> Handlers:
    """Each question with the function that answers it, as things stand at that moment."""
    return {
        "status": lambda: status(daemon),
        "clients": lambda: report.clients(daemon.node.rib.best_routes()),
        "owners": lambda: route_info(daemon),
    }


def status(daemon: Daemon) -> report.Status:
    """This node, its OpenVPN, its peers."""
    now, fib = trio.current_time(), daemon.node.kernel_sync.fib
    return report.Status(
        node=daemon.config.node,
        uptime=round(now - daemon.started_at, 1),
        openvpn=[_openvpn_row(openvpn) for openvpn in daemon.openvpns.values()],
        peers=[_peer_row(peer, now, daemon.node.refused) for peer in daemon.peers.values()],
        routes=report.RouteCounts(
            desired=fib.desired_count,
            installed=fib.installed_count,
            conflicts=len(fib.conflicts()),
        ),
        problems=list(_problems(daemon)),
        rejected_connections=daemon.rejected_connections,
    )


def route_info(daemon: Daemon) -> report.RouteInfos:
    """Whose the routes are, by destination."""
    now, rib = trio.current_time(), daemon.node.rib
    known = {
        str(prefix): report.route_info(best, now - since)
        for prefix, since in daemon.node.kernel_sync.fib.installed_since().items()
        if (best := rib.best(prefix)) is not None
    }
    return report.RouteInfos(daemon.config.node, known)


def status_line(daemon: Daemon) -> str:
    """One line for `systemctl status`: what works, and what is still missing."""
    # asked for every second: nothing here looks at every client of every peer
    openvpns = [_openvpn_row(openvpn) for openvpn in daemon.openvpns.values()]
    peers = [peer for peer in daemon.peers.values() if peer.session.state is not PeerState.UP]
    missing = [
        *daemon.node.host.missing,
        *(f"{o.name} ({o.state})" for o in openvpns if o.state != "connected"),
        *(f"peer {_peer_name(peer)} ({peer.session.state.value})" for peer in peers),
    ]
    clients = sum(openvpn.clients for openvpn in openvpns)
    installed = daemon.node.kernel_sync.fib.installed_count
    served = f"{report.pluralize(clients, 'client')}, {report.pluralize(installed, 'route')}"
    return f"{served}; waiting for {', '.join(missing)}" if missing else served


def _openvpn_row(openvpn: OpenVPN) -> report.OpenVPNRow:
    now = openvpn.source.status()
    return report.OpenVPNRow(
        name=now.name,
        state=now.state,
        version=now.version or None,
        clients=now.clients,
        detail=now.detail,
    )


def _peer_name(peer: Peer) -> str:
    return peer.config.name or peer.session.node or peer.config.label


def _peer_row(peer: Peer, now: float, prefixes_refused: Mapping[str, int]) -> report.PeerRow:
    known = peer.session.status()
    received = known.last_received
    return report.PeerRow(
        name=_peer_name(peer),
        state=known.state.value,
        clients=known.clients,
        last_heard=None if received is None else round(now - received, 3),
        detail=known.detail,
        encrypted=bool(peer.config.public_keys),
        refused=known.dropped + prefixes_refused.get(known.peer, 0),
    )


def _problems(daemon: Daemon) -> Iterator[str]:
    missing = daemon.node.host.missing
    if missing:
        yield f"waiting for interface {', '.join(missing)}"
    yield from daemon.node.host.errors
    yield from (problem.why for problem in daemon.bind_problems)
    conflicts = daemon.node.kernel_sync.fib.conflicts()
    for prefix in sorted(conflicts)[:MAX_PROBLEMS]:
        yield f"route {prefix}: {conflicts[prefix]}"
    for contested, (best, other) in enumerate(daemon.node.rib.address_conflicts()):
        if contested < MAX_PROBLEMS:
            yield _contest(best, other)


def _contest(best: RibRoute, other: RibRoute) -> str:
    prefix = report.address(best.advertisement.prefix)
    return (
        f"{prefix} has two clients: {printable_name(best.advertisement.name)} at {best.node} and"
        f" {printable_name(other.advertisement.name)} at {other.node}: their address pools overlap"
    )
