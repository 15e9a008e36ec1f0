"""What the web listener serves with ``web_names = no``: nothing that names a client or its address,
nor an administrator.

Pure. What is not listed here is not served, so that nothing new is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar

import attrs
import msgspec

from cuberouted.api import report, report_services
from cuberouted.api.http import Endpoint, HttpError, Request
from cuberouted.events import Event, NodeStateChanged, OpenVPNStateChanged, ServiceMoved

HIDDEN: Final = "not shown here (web_names = no): see `cuberouted status`"
"""Stands for a text that may contain names or addresses of clients."""

NAMELESS: Final = frozenset({"/", "/metrics", "/healthz"})
"""Paths whose replies never contain names or addresses of clients."""

VISIBLE: Final = frozenset(
    {
        "node_started",
        "node_stopping",
        "reloaded",
        "interfaces_changed",
        "node_problem_ended",
        "peer_state_changed",
        "openvpn_state_changed",
        "service_moved",
        "node_state_changed",
        "drain_finished",
        "events_lost",
    }
)
"""Types of events without names or addresses of clients, apart from what `visible` removes."""


def visible(event: Event) -> Event | None:
    """*event* as it is served, or None."""
    if event.__struct_config__.tag not in VISIBLE:
        return None
    if isinstance(event, OpenVPNStateChanged | ServiceMoved) and event.why:
        # may quote what OpenVPN has sent, or a command has written
        return msgspec.structs.replace(event, why=HIDDEN)
    if isinstance(event, NodeStateChanged):
        return msgspec.structs.replace(event, by="", why="")
    return event


def without_names(
    endpoints: Iterable[Endpoint], instead: Iterable[Endpoint]
) -> tuple[Endpoint, ...]:
    """*endpoints* as they are served: redacted, or refused, or those of the same path *instead*."""
    replaced = {endpoint.path: endpoint for endpoint in instead}
    return tuple(replaced.get(e.path) or _without_names(e) for e in endpoints)


def _without_names(endpoint: Endpoint) -> Endpoint:
    if endpoint.path in NAMELESS:
        return endpoint
    redact, original = _REDACTED.get(endpoint.path), endpoint.handler
    if redact is None:
        return attrs.evolve(endpoint, handler=_refuse)

    async def handler(request: Request) -> msgspec.Struct:
        return redact(await original(request))

    return attrs.evolve(endpoint, handler=handler)


async def _refuse(_request: Request) -> NoReturn:
    raise HttpError(403, "web_names = no: names and addresses of clients are not served here")


def _redact_status(status: report.Status) -> report.Status:
    return msgspec.structs.replace(
        _without_administrator(status),
        openvpn=[_redact_row(row) for row in status.openvpn],
        peers=[_redact_row(_without_administrator(row)) for row in status.peers],
        problems=_count(status.problems, "problem"),
        warnings=_count(status.warnings, "warning"),
    )


def _redact_nodes(nodes: report.Nodes) -> report.Nodes:
    rows = [
        msgspec.structs.replace(
            _without_administrator(row), openvpn=[_redact_row(one) for one in row.openvpn]
        )
        for row in nodes.nodes
    ]
    return msgspec.structs.replace(nodes, nodes=rows)


def _redact_services(services: report_services.Services) -> report_services.Services:
    """The reasons may quote what a command has written."""
    rows = [
        msgspec.structs.replace(
            row,
            nodes=[msgspec.structs.replace(n, why=HIDDEN if n.why else "") for n in row.nodes],
            why=HIDDEN if row.why else "",
            problems=_count(row.problems, "problem"),
        )
        for row in services.services
    ]
    return msgspec.structs.replace(services, services=rows)


_Row = TypeVar("_Row", report.OpenVPNRow, report.PeerRow)


def _redact_row(row: _Row) -> _Row:
    if row.state == "standby":  # why names a service and a node only
        return row
    detail = f"{row.state}, and why is {HIDDEN}" if row.detail else ""
    return msgspec.structs.replace(row, detail=detail)


_Maintained = TypeVar("_Maintained", report.Status, report.PeerRow, report.NodeRow)


def _without_administrator(row: _Maintained) -> _Maintained:
    return msgspec.structs.replace(row, by="", reason="")


def _count(sentences: list[str], noun: str) -> list[str]:
    """One sentence for *sentences*, if there are any."""
    return [f"{report.pluralize(len(sentences), noun)} {HIDDEN}"] if sentences else []


_REDACTED: Final[Mapping[str, Callable[[Any], msgspec.Struct]]] = MappingProxyType(
    {
        "/v1/status": _redact_status,
        "/v1/nodes": _redact_nodes,
        "/v1/services": _redact_services,
    }
)
"""By path, what is left of a reply."""
