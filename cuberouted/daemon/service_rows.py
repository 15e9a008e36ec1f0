"""GET /v1/services: every shared service of the mesh as this node sees it, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import trio

from cuberouted.api import report_services
from cuberouted.api.http import Endpoint, Request
from cuberouted.api.report import iso_time
from cuberouted.config import Placement
from cuberouted.model import Prefix, format_address, printable_name
from cuberouted.service_claim import ServiceClaim, ServicePhase, election_key, routing_key

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon
    from cuberouted.daemon.local_service import LocalService

MAX_SERVICES = 1000
"""Services in one reply."""


class _Claim(NamedTuple):
    """A claim, the node whose it is, and what that calls the service."""

    node: str
    claim: ServiceClaim
    name: str


def endpoint(daemon: Daemon) -> Endpoint:
    """GET /v1/services."""

    async def get_services(_request: Request) -> report_services.Services:
        return daemon.services.report()

    return Endpoint(
        "GET",
        "/v1/services",
        get_services,
        reply=report_services.Services,
        summary="Every shared service address of the mesh: which node has it, and why.",
    )


def services(daemon: Daemon) -> report_services.Services:
    """Every service of the mesh."""
    node, rib = daemon.config.node, daemon.node.rib
    local = {Prefix.host(s.config.address): s for s in daemon.services.local}
    prefixes = dict.fromkeys([*local, *islice(rib.service_prefixes(), MAX_SERVICES)])
    rows = [_row(daemon, prefix, local.get(prefix)) for prefix in prefixes]
    _compare_names(rows)
    return report_services.Services(node, sorted(rows, key=lambda row: (row.name, row.address)))


def problems(daemon: Daemon) -> Iterator[str]:
    """A sentence for each thing that is wrong with a service."""
    for row in services(daemon).services:
        for problem in row.problems:
            yield f"service {row.name}: {problem}"


def _row(daemon: Daemon, prefix: Prefix, local: LocalService | None) -> report_services.ServiceRow:
    here = daemon.config.node
    routes = daemon.node.rib.services(prefix)
    claims = [
        _Claim(r.node, c, printable_name(r.advertisement.name))
        for r in routes
        if (c := r.advertisement.service) is not None
    ]
    claims.sort(key=lambda c: _order(c, here))
    holders = [c.node for c in claims if c.claim.phase.has_address]
    nearest = any(c.claim.nearest for c in claims)
    via = routes[0].node if routes and routes[0].node in holders else None
    configured = local is not None and not local.retiring
    if local is not None:
        name, nearest = local.config.name, local.config.placement is Placement.NEAREST
    else:
        name = printable_name(routes[0].advertisement.name)
    return report_services.ServiceRow(
        name=name,
        address=prefix.short,
        placement=(Placement.NEAREST if nearest else Placement.SINGLE).value,
        holders=holders,
        via=via,
        configured=configured,
        nodes=[_node_row(c, here, local) for c in claims],
        why=_why(claims),
        problems=[
            *_problems(claims, nearest=nearest),
            *_differences(claims),
            *_local_problems(daemon, local),
        ],
    )


def _order(entry: _Claim, here: str) -> tuple[object, ...]:
    """Who has it first, then who gets it next, then those that cannot."""
    node, claim, _ = entry
    key = election_key(claim, node)
    if claim.phase.has_address:
        return (0, *routing_key(claim, node, is_local=node == here))
    return (1, *key) if key is not None else (2, node)


def _node_row(
    entry: _Claim, here: str, local: LocalService | None
) -> report_services.ServiceNodeRow:
    node, claim, _ = entry
    checked = None
    if node == here and local is not None and local.machine.last_checked is not None:
        checked = round(trio.current_time() - local.machine.last_checked, 3)
    return report_services.ServiceNodeRow(
        node=node,
        phase=claim.phase.value,
        priority=claim.priority,
        since=iso_time(claim.held_since / 1e6) if claim.held_since else "",
        why=claim.why,
        local=node == here,
        checked=checked,
    )


def _why(claims: Sequence[_Claim]) -> str:
    """Why the first node has it and not the next one."""
    if not claims or not claims[0].claim.phase.has_address:
        return ""
    if len(claims) == 1:
        return "no other node that is heard has a section for it"
    first, (node, second, _) = claims[0].claim, claims[1]
    if first.nearest and second.phase.has_address:
        return f"placement = nearest: it is also at {node}"
    if election_key(second, node) is None:
        return f"{node} cannot have it: {second.why or second.phase}"
    if first.priority > second.priority:
        return f"its priority is higher than that of {node}: {first.priority} > {second.priority}"
    if first.priority < second.priority:
        return f"it has had it before {node}, which does not take it back by its priority"
    return f"it has had it before {node}, which has the same priority"


def _problems(claims: Sequence[_Claim], *, nearest: bool) -> Iterator[str]:
    holders = [c for c in claims if c.claim.phase.has_address]
    if not holders:
        states = (f"{c.node} is {_state(c.claim)}" for c in claims)
        yield f"nobody has it{''.join(f'; {state}' for state in states)}"
    elif len(holders) > 1 and not nearest:
        yield f"{' and '.join(c.node for c in holders)} both have it"
    for node, claim, _ in holders:
        if claim.phase is ServicePhase.LAST_RESORT:
            why = claim.why or "it should not"
            yield f"{node} has it only because nobody else can: {why}"


def _differences(claims: Sequence[_Claim]) -> Iterator[str]:
    """In what the sections of the nodes differ, and must not."""
    placements: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for node, claim, name in claims:
        placement = Placement.NEAREST if claim.nearest else Placement.SINGLE
        placements.setdefault(placement.value, []).append(node)
        names.setdefault(name, []).append(node)
    for what, values in (("placement", placements), ("name", names)):
        if len(values) > 1:
            parts = (f"{value} on {', '.join(sorted(on))}" for value, on in sorted(values.items()))
            yield f"its {what} differs: {'; '.join(parts)}"


def _compare_names(rows: Sequence[report_services.ServiceRow]) -> None:
    """Add a problem to services with one name and several addresses: one may be mistyped."""
    named: dict[str, list[report_services.ServiceRow]] = {}
    for row in rows:
        named.setdefault(row.name, []).append(row)
    for same in named.values():
        for row in same if len(same) > 1 else ():
            others = [other for other in same if other is not row]
            where = ", ".join(f"{o.address} ({', '.join(n.node for n in o.nodes)})" for o in others)
            row.problems.append(f"its name stands for another address as well: {where}")


def _state(claim: ServiceClaim) -> str:
    return f"{claim.phase} ({claim.why})" if claim.why else claim.phase.value


def _local_problems(daemon: Daemon, local: LocalService | None) -> Iterator[str]:
    if local is None:
        return
    machine = local.machine
    if not machine.is_healthy and machine.last_checked is not None:
        why = f" ({local.check_failed})" if local.check_failed else ""
        yield f"its check fails here{why}"
    yield from (f"{program} failed: {why}" for program, why in local.failed.items())
    error = daemon.services.addresses.error(local.config.address)
    if error:
        address, name = format_address(local.config.address), daemon.services.addresses.interface
        yield f"{address} on {name}: {error}"
