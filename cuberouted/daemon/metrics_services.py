"""The metrics of shared service addresses, and of the state of the nodes: see `metrics`.

Only the services of this node's sections have series: what peers call theirs is in their metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cuberouted.config import ServiceConfig
from cuberouted.daemon.local_service import LocalService
from cuberouted.daemon.metrics_view import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    Metric,
    MetricType,
    Series,
    View,
    node_metric,
    openvpn_metric,
)
from cuberouted.maintenance.client import Outcome
from cuberouted.model import NodeState, Prefix
from cuberouted.routing.rib import RibRoute
from cuberouted.util.histogram import Histogram


def _service(
    name: str,
    type_: MetricType,
    meaning: str,
    read: Callable[[View, ServiceConfig], float | Histogram | None],
) -> Metric:
    """A metric with one series a service, where its value is known."""

    def series(view: View) -> Series:
        values = ((service.name, read(view, service)) for service in view.daemon.config.services)
        return [((label,), value) for label, value in values if value is not None]

    return Metric(name, type_, ("service",), meaning, series)


def _node_states(view: View) -> Series:
    present = view.daemon.maintenance.record.state
    return [((state.value,), state is present) for state in NodeState]


def _peers_node_states(view: View) -> Series:
    for peer in view.peers:
        info = peer.peer.session.info
        for state in NodeState:
            yield (peer.label, state.value), info is not None and info.state is state


def _capacity(view: View) -> Series:
    capacity = view.daemon.config.capacity
    return [((), capacity)] if capacity else []


def _peers_capacity(view: View) -> Series:
    infos = ((peer.label, peer.peer.session.info) for peer in view.peers)
    return [((label,), info.capacity) for label, info in infos if info and info.capacity]


def _drained_clients(view: View) -> Series:
    counts = view.daemon.maintenance.counts
    return [((outcome.value,), counts.of(outcome) if counts else 0) for outcome in Outcome]


def _info(view: View) -> Series:
    services = view.daemon.config.services
    return [((service.name, service.placement.value), 1) for service in services]


def _holders(view: View, service: ServiceConfig) -> Iterator[RibRoute]:
    """The claims of the nodes that have its address."""
    for route in view.daemon.node.rib.services(Prefix.host(service.address)):
        claim = route.advertisement.service
        if claim is not None and claim.phase.has_address:
            yield route


def _local(view: View, service: ServiceConfig) -> LocalService | None:
    """The section *service* at work; None before it is."""
    for local in view.daemon.services.local:
        if local.config.name == service.name and not local.retiring:
            return local
    return None


def _healthy(view: View, service: ServiceConfig) -> bool | None:
    local = _local(view, service)
    return None if local is None else local.machine.is_healthy


def _check_durations(view: View, service: ServiceConfig) -> Histogram | None:
    local = _local(view, service)
    return None if local is None or not service.check else local.check_durations


SERVICE_METRICS = (
    # -- the state of the nodes --
    Metric(
        "cuberouted_node_state",
        GAUGE,
        ("state",),
        "1 for the present state of this node, 0 for the others: whether it takes clients.",
        _node_states,
    ),
    node_metric(
        "cuberouted_node_state_timestamp_seconds",
        GAUGE,
        "When the state of this node was changed last; 0 if it never was.",
        lambda view: view.daemon.maintenance.record.since,
    ),
    node_metric(
        "cuberouted_node_state_end_timestamp_seconds",
        GAUGE,
        "When this node becomes active by itself; 0 if that is not planned.",
        lambda view: view.daemon.maintenance.record.until,
    ),
    Metric(
        "cuberouted_peer_node_state",
        GAUGE,
        ("peer", "state"),
        "1 for what the peer has said last of its state, 0 for the others.",
        _peers_node_states,
    ),
    Metric(
        "cuberouted_capacity",
        GAUGE,
        (),
        "Clients that this node should have at most; missing if that is not configured.",
        _capacity,
    ),
    Metric(
        "cuberouted_peer_capacity",
        GAUGE,
        ("peer",),
        "Clients that the peer should have at most; missing if that is not known.",
        _peers_capacity,
    ),
    Metric(
        "cuberouted_drained_clients",
        GAUGE,
        ("outcome",),
        "Clients of this node since it is drained, by what became of them.",
        _drained_clients,
    ),
    openvpn_metric(
        "cuberouted_sessions_sent_on_total",
        COUNTER,
        "Sessions that OpenVPN was told to send on to the next server.",
        lambda view, openvpn: view.daemon.counters.sent_on[openvpn.openvpn.config.name],
    ),
    # -- services --
    Metric(
        "cuberouted_service_info",
        GAUGE,
        ("service", "placement"),
        "Always 1: the services that this node may have.",
        _info,
    ),
    _service(
        "cuberouted_service_held",
        GAUGE,
        "Whether this node has the address of the service.",
        lambda view, service: any(route.is_local for route in _holders(view, service)),
    ),
    _service(
        "cuberouted_service_holders",
        GAUGE,
        "Nodes that have the address of the service, as this one sees it.",
        lambda view, service: sum(1 for _ in _holders(view, service)),
    ),
    _service(
        "cuberouted_service_healthy",
        GAUGE,
        "Whether the check of the service succeeds on this node.",
        _healthy,
    ),
    _service(
        "cuberouted_service_check_duration_seconds",
        HISTOGRAM,
        "Time that each check of the service took on this node.",
        _check_durations,
    ),
    _service(
        "cuberouted_service_moves_total",
        COUNTER,
        "How often another node got the packets to the service.",
        lambda view, service: view.daemon.counters.service_moves[service.name],
    ),
)
