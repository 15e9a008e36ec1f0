"""Every metric of /metrics: its name, type, labels and meaning, and how its value is read.

The values are read when Prometheus asks; nothing here goes through all clients. `exposition` makes
text of them. docs/metrics.md describes them for users; a test holds it against this table. The
metrics of services and of maintenance are in `metrics_services`.
"""

from __future__ import annotations

import errno
from collections import Counter

from cuberouted import __version__
from cuberouted.daemon.hook_queue import event_type
from cuberouted.daemon.metrics_services import SERVICE_METRICS
from cuberouted.daemon.metrics_view import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    Metric,
    OpenVPNView,
    PeerView,
    Series,
    View,
    node_metric,
    openvpn_metric,
    peer_metric,
)
from cuberouted.daemon.readiness import reasons_not_ready
from cuberouted.daemon.snapshot import conflicting_routes, problems, warnings
from cuberouted.daemon.standby import why_standby
from cuberouted.events import EventsLost
from cuberouted.openvpn.health import OpenVPNState
from cuberouted.peering.events import PeerState
from cuberouted.routing.policy import REASON_LABELS
from cuberouted.routing.rib import Origin, Source

USUAL_ERRORS = ("EPERM", "EINVAL", "ENOMEM", "ENOBUFS", "ENODEV", "ENETDOWN", "ENETUNREACH")
"""Errors of the kernel that have a series before they occur."""

UNNAMED = "other"
"""Stands for all errors without a name: some numbers are known only in the kernel."""


def _build(view: View) -> Series:
    return [((__version__, view.daemon.config.node), 1)]


def _is_up(view: View, openvpn: OpenVPNView) -> bool | None:
    if why_standby(view.daemon, openvpn.openvpn.config):
        return None
    return openvpn.status.state is OpenVPNState.CONNECTED


def _clients(view: View) -> int:
    here = sum(openvpn.status.clients for openvpn in view.openvpns)
    return here + sum(peer.status.clients for peer in view.peers)


def _states(view: View) -> Series:
    return [
        ((peer.label, state.value), peer.status.state is state)
        for peer in view.peers
        for state in PeerState
    ]


def _refused(view: View) -> Series:
    for peer in view.peers:
        for dropped, count in peer.counters.dropped.items():
            yield (peer.label, dropped.value), count
        prefixes = view.daemon.node.refused[peer.status.peer]
        for reason in REASON_LABELS:
            yield (peer.label, reason), prefixes[reason]


def _snapshots(view: View) -> Series:
    for peer in view.peers:
        yield (peer.label, "received"), peer.counters.snapshots
        yield (peer.label, "timed_out"), peer.counters.timed_out


def _route_changes(view: View) -> Series:
    changes = view.daemon.counters.route_changes
    return [((trace.value,), count) for trace, count in changes.items()]


def _kernel_errors(view: View) -> Series:
    found = Counter(dict.fromkeys((*USUAL_ERRORS, UNNAMED), 0))
    for number, count in view.daemon.node.kernel_sync.errors.items():
        found[errno.errorcode.get(number, UNNAMED)] += count
    return [((name,), count) for name, count in found.items()]


def _events(view: View) -> Series:
    events = view.daemon.counters.events
    return [((event_type(kind),), n) for kind, n in events.items() if kind is not EventsLost]


def _refused_now(view: View, peer: PeerView) -> int:
    return len(view.daemon.node.rib.refused(Source(Origin.PEER, peer.status.peer)))


METRICS = (
    Metric(
        "cuberouted_build_info",
        GAUGE,
        ("version", "node"),
        "Always 1: the version of cuberouted, and the name of the node.",
        _build,
    ),
    node_metric(
        "cuberouted_start_timestamp_seconds",
        GAUGE,
        "When the daemon was started.",
        lambda view: round(view.daemon.start_time, 3),  # alerts count its changes
    ),
    node_metric(
        "cuberouted_ready",
        GAUGE,
        "Whether clients may be sent to this node: 1 where /readyz replies 200.",
        lambda view: not reasons_not_ready(view.daemon),
    ),
    node_metric(
        "cuberouted_problems",
        GAUGE,
        "Problems that `cuberouted status` shows.",
        lambda view: sum(1 for _ in problems(view.daemon)),
    ),
    node_metric(
        "cuberouted_warnings",
        GAUGE,
        "Warnings that `cuberouted status` shows.",
        lambda view: sum(1 for _ in warnings(view.daemon)),
    ),
    # -- OpenVPN --
    openvpn_metric(
        "cuberouted_openvpn_up",
        GAUGE,
        "Whether the connection to the OpenVPN process works, or its status file is fresh; missing"
        " while its service is not here.",
        _is_up,
    ),
    openvpn_metric(
        "cuberouted_openvpn_sessions",
        GAUGE,
        "Clients of the OpenVPN process whose addresses are shared.",
        lambda _, openvpn: openvpn.status.clients,
    ),
    openvpn_metric(
        "cuberouted_openvpn_counted_sessions",
        GAUGE,
        "Clients that the OpenVPN process itself counts; missing while that is unknown.",
        lambda _, openvpn: openvpn.status.counted,
    ),
    openvpn_metric(
        "cuberouted_omitted_sessions",
        GAUGE,
        "Rows of OpenVPN's last listing that cannot be shared.",
        lambda _, openvpn: openvpn.status.omitted,
    ),
    openvpn_metric(
        "cuberouted_openvpn_last_listing_timestamp_seconds",
        GAUGE,
        "When the last complete listing of the clients came; 0 before the first.",
        lambda view, openvpn: view.unix(openvpn.status.last_listing),
    ),
    openvpn_metric(
        "cuberouted_openvpn_listing_duration_seconds",
        HISTOGRAM,
        "Time from the request to the end of a listing of the clients.",
        lambda _, openvpn: openvpn.openvpn.source.listing_durations,
    ),
    openvpn_metric(
        "cuberouted_sessions_killed_total",
        COUNTER,
        "Sessions of clients that had moved to another server, which were ended here.",
        lambda view, openvpn: view.daemon.counters.killed[openvpn.openvpn.config.name],
    ),
    # -- peers --
    peer_metric(
        "cuberouted_peer_up",
        GAUGE,
        "Whether the peer is up: everything that it advertises is known.",
        lambda _, peer: peer.status.state is PeerState.UP,
    ),
    Metric(
        "cuberouted_peer_state",
        GAUGE,
        ("peer", "state"),
        "1 for the present state of the peer, 0 for the others.",
        _states,
    ),
    peer_metric(
        "cuberouted_peer_state_changes_total",
        COUNTER,
        "Changes of the peer's state.",
        lambda _, peer: peer.counters.state_changes,
    ),
    peer_metric(
        "cuberouted_peer_last_heard_timestamp_seconds",
        GAUGE,
        "When the last message of the peer came; 0 before the first.",
        lambda view, peer: view.unix(peer.status.last_received),
    ),
    peer_metric(
        "cuberouted_peer_prefixes",
        GAUGE,
        "Prefixes that the peer advertises.",
        lambda _, peer: peer.status.advertisements,
    ),
    peer_metric(
        "cuberouted_peer_clients",
        GAUGE,
        "Clients of the peer; one with an IPv4 and an IPv6 address counts once.",
        lambda _, peer: peer.status.clients,
    ),
    peer_metric(
        "cuberouted_peer_refused_prefixes",
        GAUGE,
        "Prefixes that the peer advertises and this node refuses.",
        _refused_now,
    ),
    Metric(
        "cuberouted_peer_refused_total",
        COUNTER,
        ("peer", "reason"),
        "Messages and prefixes of the peer that were refused.",
        _refused,
    ),
    peer_metric(
        "cuberouted_peer_messages_received_total",
        COUNTER,
        "Messages of the peer, those that were refused included.",
        lambda _, peer: peer.counters.messages,
    ),
    peer_metric(
        "cuberouted_peer_gaps_total",
        COUNTER,
        "How often updates of the peer were lost on the way.",
        lambda _, peer: peer.counters.gaps,
    ),
    Metric(
        "cuberouted_peer_snapshots_total",
        COUNTER,
        ("peer", "result"),
        "Snapshots of everything that the peer advertises: received, or requested in vain.",
        _snapshots,
    ),
    # -- routes and clients --
    node_metric(
        "cuberouted_routes_desired",
        GAUGE,
        "Routes that should be in the kernel.",
        lambda view: view.daemon.node.kernel_sync.fib.desired_count,
    ),
    node_metric(
        "cuberouted_routes_installed",
        GAUGE,
        "Routes that are in the kernel.",
        lambda view: view.daemon.node.kernel_sync.fib.installed_count,
    ),
    node_metric(
        "cuberouted_routes_conflicting",
        GAUGE,
        "Routes that foreign ones in the kernel cut off or keep out.",
        lambda view: conflicting_routes(view.daemon),
    ),
    Metric(
        "cuberouted_route_changes_total",
        COUNTER,
        ("change",),
        "Changes of our routes in the kernel.",
        _route_changes,
    ),
    node_metric(
        "cuberouted_routes_restored_total",
        COUNTER,
        "Routes that another program had deleted, and that were installed again.",
        lambda view: view.daemon.counters.routes_restored,
    ),
    Metric(
        "cuberouted_kernel_errors_total",
        COUNTER,
        ("errno",),
        "Requests to the kernel that failed unexpectedly.",
        _kernel_errors,
    ),
    node_metric(
        "cuberouted_convergence_seconds",
        HISTOGRAM,
        "Time from the news of a session to the kernel's acknowledgement of its route, here.",
        lambda view: view.daemon.counters.convergence,
    ),
    node_metric(
        "cuberouted_clients",
        GAUGE,
        "Clients of all nodes that this one knows of.",
        _clients,
    ),
    node_metric(
        "cuberouted_clients_joined_total",
        COUNTER,
        "Addresses of clients that connected, after they were nowhere.",
        lambda view: view.daemon.counters.joined,
    ),
    node_metric(
        "cuberouted_client_moves_total",
        COUNTER,
        "Addresses of clients that moved from one server to another.",
        lambda view: view.daemon.counters.moved,
    ),
    node_metric(
        "cuberouted_clients_left_total",
        COUNTER,
        "Addresses of clients that left.",
        lambda view: view.daemon.counters.left,
    ),
    node_metric(
        "cuberouted_pool_conflicts",
        GAUGE,
        "Addresses that two clients have, because the pools of two servers overlap.",
        lambda view: view.daemon.node.rib.address_conflict_count,
    ),
    # -- events, connections, hooks --
    Metric(
        "cuberouted_events_total",
        COUNTER,
        ("type",),
        "Events that were published.",
        _events,
    ),
    node_metric(
        "cuberouted_events_lost_total",
        COUNTER,
        "Events that were not kept any more when a reader came to them, all readers together.",
        lambda view: view.daemon.events.lost,
    ),
    node_metric(
        "cuberouted_rejected_connections_total",
        COUNTER,
        "Connections of strangers to the port for peers.",
        lambda view: view.daemon.rejected_connections,
    ),
    node_metric(
        "cuberouted_hook_failures_total",
        COUNTER,
        "Runs of the hook that failed.",
        lambda view: view.daemon.hooks.failures,
    ),
    *SERVICE_METRICS,
)
