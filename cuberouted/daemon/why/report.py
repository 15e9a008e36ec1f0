"""Puts what was collected and judged of an address into the values that `why` reports. Pure."""

from __future__ import annotations

from cuberouted.api import report_why as report
from cuberouted.api.report import iso_time
from cuberouted.daemon.why.case import Case
from cuberouted.daemon.why.facts import KernelFacts, MeshFacts, OwnRoute, PeerFacts, Probe
from cuberouted.daemon.why.judgement import Judgement
from cuberouted.daemon.why.packets import failure, is_regular
from cuberouted.daemon.why.verdict import judge, overlapping
from cuberouted.model import MAIN_TABLE, Kind, format_address, printable_name
from cuberouted.routing.conflict_text import describe_route, describe_shortly
from cuberouted.routing.rib import ADOPTED_VERSION, Claim, is_vacant
from cuberouted.routing.types import ForeignRoute, Rule
from cuberouted.service_claim import describe_phase

_KERNEL = 2
"""RTPROT_KERNEL: routes that come with an address."""


def explain(mesh: MeshFacts, kernel: KernelFacts) -> report.WhyAddress:
    """Everything on one address."""
    case = Case(mesh, kernel)
    why = _kernel_part(judge(mesh, kernel), kernel, case)
    why.claims = [_claim(mesh, claim) for claim in mesh.claims]
    why.peer = None if mesh.peer is None else _peer(mesh.peer)
    why.notes = [note for note in (overlapping(mesh), *_kept(mesh)) if note]
    return why


def explain_kernel(judgement: Judgement, kernel: KernelFacts) -> report.WhyAddress:
    """What the kernel alone knows of an address."""
    return _kernel_part(judgement, kernel, None)


def _kernel_part(judgement: Judgement, kernel: KernelFacts, case: Case | None) -> report.WhyAddress:
    here = kernel.probes[0]
    followed = here.result.route
    routes = [_own(route, followed, kernel) for route in kernel.own]
    routes += [_foreign(route, followed, kernel) for route in kernel.foreign]
    if followed is not None and not any(route.used for route in routes):
        routes.append(_foreign(followed, followed, kernel))
    for route in routes:
        if route.used and route.owner == "openvpn" and case is not None and not case.is_right(here):
            route.owner = "foreign"
    return report.WhyAddress(
        address=kernel.prefix.short,
        reached=judgement.reached,
        verdict=judgement.verdict,
        advice=judgement.advice,
        routes=routes,
        rules=[_rule(rule) for rule in kernel.rules if not is_regular(rule)],
        lookups=[_lookup(probe, kernel, case) for probe in kernel.probes],
    )


def _claim(mesh: MeshFacts, claim: Claim) -> report.WhyClaim:
    route, advertisement = claim.route, claim.route.advertisement
    best = claim is mesh.best
    why = claim.why
    service = advertisement.service
    if best and service is not None and is_vacant(route):
        why = describe_phase(service)
    elif mesh.best is not None and not (best or claim.refused or why):
        why = f"{mesh.best.route.advertisement.prefix} is longer, and so comes first"
    adopted = advertisement.version == ADOPTED_VERSION
    return report.WhyClaim(
        prefix=str(advertisement.prefix),
        node=route.node,
        name=printable_name(advertisement.name),
        kind=advertisement.kind.value,
        source=route.source.origin.value,
        since=iso_time(advertisement.since) if advertisement.since else None,
        confirmed=advertisement.confirmed and not adopted,
        best=best and not is_vacant(route),
        refused=claim.refused,
        why=why,
        phase="" if service is None else service.phase.value,
        priority=None if service is None else service.priority,
    )


def _kept(mesh: MeshFacts) -> list[str]:
    """What becomes of sessions on this host whose address is elsewhere now."""
    notes = []
    for claim in mesh.claims:
        if claim.why and claim.route.is_local and not claim.refused:
            name = printable_name(claim.route.advertisement.name) or "a client"
            if claim.route.advertisement.kind is not Kind.CLIENT:
                continue
            if claim.kept is None:
                notes.append(f"the session of {name} here is superseded: OpenVPN is told to end it")
            else:
                notes.append(f"the session of {name} here is kept: {claim.kept}")
    return notes


def _peer(peer: PeerFacts) -> report.WhyPeer:
    return report.WhyPeer(
        name=peer.known_as,
        state=peer.state,
        last_heard=None if peer.last_heard is None else round(peer.last_heard, 3),
        detail=peer.detail,
        interface=peer.interface,
        mgmt_ip=format_address(peer.mgmt_ip),
        data_ip=None if peer.data_ip is None else format_address(peer.data_ip),
    )


def _own(own: OwnRoute, followed: ForeignRoute | None, kernel: KernelFacts) -> report.WhyRoute:
    trace, at = own.trace or ("", None)
    return report.WhyRoute(
        text=describe_route(own.route, kernel.devices),
        owner="cuberouted",
        used=_same(own.route, followed),
        age=None if own.age is None else round(own.age, 1),
        trace=str(trace),
        traced=None if at is None else iso_time(at.timestamp()),
    )


def _foreign(
    route: ForeignRoute, followed: ForeignRoute | None, kernel: KernelFacts
) -> report.WhyRoute:
    owner = "foreign"
    if route.protocol == kernel.protocol:
        owner = "cuberouted"
    elif route.protocol == _KERNEL:
        owner = "kernel"
    elif route.device in kernel.data_devices:
        owner = "openvpn"
    return report.WhyRoute(
        text=describe_route(route, kernel.devices), owner=owner, used=_same(route, followed)
    )


def _same(route: ForeignRoute, followed: ForeignRoute | None) -> bool:
    # a lookup shows IPv6 routes without a metric with the kernel's default of 1024, as dumps do
    return followed is not None and route[:5] == followed[:5]


def _rule(rule: Rule) -> str:
    table = {MAIN_TABLE: "main", 253: "default", 255: "local"}.get(rule.table, str(rule.table))
    text = f"{rule.priority}: {rule.text or 'all packets'}"
    if rule.table:
        text += f", table {table}"
    return f"{text}, without default routes" if rule.suppress == 0 else text


def _lookup(probe: Probe, kernel: KernelFacts, case: Case | None) -> report.WhyLookup:
    route = probe.result.route
    text = (
        describe_shortly(route, kernel.devices)
        if route is not None
        else f"packets {failure(probe.result.errno)}"
    )
    return report.WhyLookup(
        origin=(kernel.name(probe.device) or "") if probe.device else "",
        source="" if probe.source is None else format_address(probe.source),
        text=text,
        interface=None if route is None else kernel.name(route.device),
        gateway=None if route is None or not route.gateway else format_address(route.gateway),
        right=case is not None and case.is_right(probe),
    )
