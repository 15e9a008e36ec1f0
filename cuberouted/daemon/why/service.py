"""What `why` says of the address of a service: which node has it, or why none does. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cuberouted.daemon.why.case import Case
from cuberouted.daemon.why.judgement import Judgement, ago
from cuberouted.model import printable_name
from cuberouted.routing.rib import RibRoute, is_vacant
from cuberouted.service_claim import ServicePhase, describe_phase

_ADVICE = "`cuberouted services` shows each node's part"

MAX_NODES = 8
"""Nodes that a sentence on a service lists."""


def judge_service(case: Case) -> Judgement | None:
    """The judgement over a service's address; None where another node has it.

    Then packets have to get there, as to a client.
    """
    best = case.mesh.best
    if best is None or best.route.advertisement.service is None:
        return None
    route, address = best.route, case.address
    device = None if case.here.result.route is None else case.here.result.route.device
    where = f"on {case.kernel.name(device) or 'an interface'} of this host"
    if is_vacant(route):
        return _vacant(case, where)
    holder = describe_holder(route, case.mesh.now)
    if not route.leads_here:
        if not case.is_own:
            return None
        verdict = f"{address} is not reached from here: it is {where}, but {holder}"
        return Judgement(False, verdict, f"remove it here, if cuberouted does not; {_ADVICE}")
    if case.is_own:
        return Judgement(True, f"{address} is {where}: {holder}")
    verdict = f"{address} is not reached: it is not on an interface here, but {holder}"
    return Judgement(False, verdict, "ask again in a second; `cuberouted status` shows problems")


def describe_holder(route: RibRoute, now: float) -> str:
    """``vpnsrvB has the address of service db, taken 4 min ago``, and what else it is to the
    service. *now*: Unix seconds.
    """
    claim, name = route.advertisement.service, printable_name(route.advertisement.name)
    if claim is None:
        raise ValueError(f"not a service: {route}")
    more = "" if claim.phase is ServicePhase.HOLDING else f"; {describe_phase(claim)}"
    taken = f", taken {ago(now - claim.held_since / 1_000_000)}" if claim.held_since else ""
    return f"{route.node} has the address of service {name}{taken}{more}"


def _vacant(case: Case, where: str) -> Judgement:
    best = case.best
    name = printable_name(best.advertisement.name)
    verdict = f"{case.address} is not reached: no node has the address of service {name}"
    if case.is_own:
        verdict = f"{case.address} is {where}, but no node claims to have it, as service {name}"
    claims = [
        claim.route
        for claim in case.mesh.claims
        if claim.route.advertisement.prefix == best.advertisement.prefix and not claim.refused
    ]
    silent = [f"{peer.known_as} (peer {peer.state})" for peer in case.mesh.unheard]
    verdict = f"{verdict}: {', '.join([*_nodes(claims), *silent])}"
    followed = case.here.result.route
    if followed is not None and case.is_ours(followed):
        verdict += "; a route of before our restart is kept until its peer is heard"
    return Judgement(False, verdict, _ADVICE)


def _nodes(routes: Sequence[RibRoute]) -> list[str]:
    states = [
        f"{route.node} ({describe_phase(claim)})"
        for route in routes
        if (claim := route.advertisement.service) is not None
    ]
    more = len(states) - MAX_NODES
    return [*states[:MAX_NODES], f"{more} more"] if more > 0 else states
