"""Whether packets to an address get there, and what to do if not: the judgement of `why`. Pure.

`judge` tries the rules in `RULES` in order; the first that applies gives the verdict. The truth is
what the kernel's lookups answered, compared with where the RIB has the address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cuberouted.daemon.why.case import Case
from cuberouted.daemon.why.facts import KernelFacts, MeshFacts, PeerFacts
from cuberouted.daemon.why.judgement import Judgement, ago
from cuberouted.daemon.why.packets import explain_wrong, outcome
from cuberouted.daemon.why.service import describe_holder, judge_service
from cuberouted.model import Kind, format_address, printable_name
from cuberouted.routing.policy import OUTSIDE
from cuberouted.routing.rib import ADOPTED_VERSION
from cuberouted.routing.types import RTN_LOCAL


def judge(mesh: MeshFacts, kernel: KernelFacts) -> Judgement:
    """The judgement over one address."""
    case = Case(mesh, kernel)
    judgements = (rule(case) for rule in RULES)
    return next(judgement for judgement in judgements if judgement is not None)


def _own_address(case: Case) -> Judgement | None:
    route = case.here.result.route
    if route is None or not case.is_own:
        return None
    device = case.kernel.name(route.device)
    where = f", on {device}" if device else ""
    return Judgement(True, f"{case.address} is an address of this host itself{where}")


def _management_address(case: Case) -> Judgement | None:
    peer = case.mesh.peer
    if case.mesh.best is not None or peer is None:
        return None
    route = case.here.result.route
    right = route is not None and route.device == case.kernel.indexes.get(peer.interface)
    device = peer.interface
    what = f"the management address of {peer.known_as}"
    if not right:
        happens = outcome(case.here, case.kernel)
        verdict = f"{case.address} is not reached: packets to it, {what}, {happens}"
        return Judgement(False, verdict, _up(peer.interface, case.kernel))
    if peer.state in ("down", "incompatible"):
        verdict = f"{case.address}, {what}, is on {device}, but the peer is {_state(peer)}"
        return Judgement(False, verdict, _look_at(peer))
    return Judgement(True, f"{case.address} is reached through {device}: {what}")


def _nobody(case: Case) -> Judgement | None:
    mesh = case.mesh
    if mesh.best is not None:
        return None
    refused = next(iter(mesh.claims), None)
    if refused is not None:
        route = refused.route
        name = printable_name(route.advertisement.name) or "a client"
        place = "here" if route.leads_here else f"at {route.node}"
        why = refused.why.removeprefix("refused: ")
        verdict = f"{case.address} is not reached: {name} {place} has it, but it is refused: {why}"
        return Judgement(False, verdict, _allow() if why == OUTSIDE else "give it another address")
    networks = ", ".join(map(str, mesh.allowed[:3])) + (", ..." if len(mesh.allowed) > 3 else "")
    if not any(network.contains(case.kernel.prefix) for network in mesh.allowed):
        happens = outcome(case.here, case.kernel)
        verdict = (
            f"{case.address} is outside allowed_networks ({networks or 'none'}):"
            f" cuberouted does not route it; packets to it {happens}"
        )
        return Judgement(False, verdict, _allow())
    verdict = f"{case.address} is not reached: no client has it, here or at any peer"
    if mesh.unheard:
        peers = ", ".join(f"{peer.known_as} is {peer.state}" for peer in mesh.unheard)
        verdict += f"; {peers}, so its clients are not known"
        return Judgement(False, verdict, _look_at(mesh.unheard[0]))
    return Judgement(False, verdict, "`cuberouted clients` lists who is connected, and where")


def _taken(case: Case) -> Judgement | None:
    """A name was asked for, and another client has its address."""
    asked = case.mesh.asked
    lost = [claim for claim in case.mesh.claims if claim.route.advertisement.name == asked]
    if not asked or not lost or case.best.advertisement.name == asked or lost[0].refused:
        return None
    if case.best.advertisement.kind is Kind.SERVER:
        return None
    verdict = (
        f"{printable_name(asked)} is not reached: {case.where} has {case.address}, too;"
        f" {lost[0].why}"
    )
    return Judgement(False, verdict, OVERLAP)


OVERLAP = "give each server an address pool of its own, or each client a fixed address"


def _no_nexthop(case: Case) -> Judgement | None:
    mesh = case.mesh
    if mesh.nexthop is not None and mesh.nexthop.device in case.kernel.running:
        return None
    verdict = f"{case.address} is not reached: it is {case.where}"
    if case.best.advertisement.kind is Kind.SERVER:
        verdict = f"{case.address} is not reached: {case.where}"
    if mesh.peer is not None and mesh.peer.problem:
        return Judgement(False, verdict, mesh.peer.problem)
    index = case.kernel.indexes.get(mesh.interface)
    if index is None:
        verdict += f", and the interface {mesh.interface} does not exist"
    elif index not in case.kernel.running:
        verdict += f", and the interface {mesh.interface} is down"
    else:
        verdict += f", and no address of this family leads there on {mesh.interface}"
    return Judgement(False, verdict, _up(mesh.interface, case.kernel))


def _pending(case: Case) -> Judgement | None:
    if not case.mesh.pending or case.is_right(case.here):
        return None
    verdict = f"{case.address} is not reached yet: the kernel's route to {case.where} is being set"
    return Judgement(False, verdict, "ask again in a second; `cuberouted status` shows problems")


def _wrong_from_here(case: Case) -> Judgement | None:
    if case.is_right(case.here):
        return None
    happens, advice = explain_wrong(case, case.here)
    return Judgement(False, f"{case.address} is not reached: {_packets(case)} {happens}", advice)


def _wrong_when_forwarded(case: Case) -> Judgement | None:
    wrong = next((probe for probe in case.kernel.probes if not case.is_right(probe)), None)
    if wrong is None:
        return None
    happens, advice = explain_wrong(case, wrong)
    source = case.kernel.name(wrong.device)
    verdict = (
        f"{case.address} is reached from this host, but not from {source}:"
        f" {_packets(case)} that come in there {happens}"
    )
    return Judgement(False, verdict, advice)


def _silent_peer(case: Case) -> Judgement | None:
    peer = case.mesh.peer
    if peer is None or peer.state not in ("down", "incompatible"):
        return None
    verdict = (
        f"{case.address} may not be reached: packets leave through {_device(case)} to"
        f" {peer.known_as}, which is {_state(peer)}"
    )
    return Judgement(False, verdict, _look_at(peer))


def _reached(case: Case) -> Judgement:
    mesh, best = case.mesh, case.best
    verdict = f"{case.address} is reached through {_device(case)}{_by(case)}"
    advice = OVERLAP if overlapping(mesh) else ""
    peer = mesh.peer
    if peer is not None and peer.state != "up":
        verdict += f"; {peer.known_as} is {peer.state}, and its routes are kept meanwhile"
    elif best.leads_here and mesh.openvpn != "connected":
        verdict += f"; OpenVPN is {mesh.openvpn}, and its clients are kept meanwhile"
    return Judgement(True, verdict, advice)


RULES: tuple[Callable[[Case], Judgement | None], ...] = (
    judge_service,
    _own_address,
    _management_address,
    _nobody,
    _taken,
    _no_nexthop,
    _pending,
    _wrong_from_here,
    _wrong_when_forwarded,
    _silent_peer,
    _reached,
)


def judge_kernel(
    kernel: KernelFacts, neighbours: Mapping[tuple[int, bytes | None], str]
) -> Judgement:
    """The judgement without a daemon. *neighbours*: who is behind an interface and gateway."""
    address = kernel.prefix.short
    route = kernel.probes[0].result.route
    start = "cuberouted is not running here, so only the kernel was asked"
    if route is not None and route.type == RTN_LOCAL:
        return Judgement(False, f"{start}: {address} is an address of this host itself")
    happens = outcome(kernel.probes[0], kernel)
    device = None if route is None else route.device
    gateway = None if route is None else route.gateway
    to = "" if device is None else neighbours.get((device, gateway), "")
    verdict = f"{start}: packets to {address} {happens}{f' ({to})' if to else ''}"
    return Judgement(False, verdict, "start it: `systemctl start cuberouted`")


def overlapping(mesh: MeshFacts) -> str:
    """A sentence on two clients that have the address of the best claim; empty: there are not."""
    best = mesh.best
    if best is None:
        return ""
    clients = [
        claim.route
        for claim in mesh.claims
        if claim.route.advertisement.prefix == best.route.advertisement.prefix
        and claim.route.advertisement.kind is Kind.CLIENT
        and claim.route.advertisement.version != ADOPTED_VERSION
        and not claim.refused
    ]
    first = next(iter(clients), None)
    for other in clients[1:]:
        if first is not None and other.advertisement.name != first.advertisement.name:
            one, two = (printable_name(r.advertisement.name) for r in (first, other))
            return (
                f"{best.route.advertisement.prefix.short} has two clients: {one} at {first.node}"
                f" and {two} at {other.node}: their address pools overlap"
            )
    return ""


# -- parts of sentences --


def _packets(case: Case) -> str:
    return f"packets to {case.where}" if case.best.advertisement.name else "packets to it"


def _device(case: Case) -> str:
    nexthop = case.mesh.nexthop
    return (case.kernel.name(nexthop.device) if nexthop else None) or case.mesh.interface


def _by(case: Case) -> str:
    best = case.best
    advertisement = best.advertisement
    name = printable_name(advertisement.name) or "a client without a name"
    place = "here" if best.leads_here else "there"
    by = "" if best.leads_here else f" by {best.node}"
    if advertisement.kind is Kind.SERVER:
        return f": it is the data address of {best.node}"
    if advertisement.service is not None:
        return f": {describe_holder(best, case.mesh.now)}"
    if advertisement.version == ADOPTED_VERSION:
        until = "OpenVPN lists its clients" if best.leads_here else f"{best.node} is heard"
        return f"{by}: by a route of before our restart, which is kept until {until}"
    since = case.mesh.now - advertisement.since
    connected = f"connected {place}{f' {ago(since)}' if advertisement.since else ''}"
    if advertisement.kind is Kind.NETWORK:
        return f"{by}: it is in {advertisement.prefix} behind {name}, {connected}"
    return f"{by}: {name} {connected}"


def _up(interface: str, kernel: KernelFacts) -> str:
    index = kernel.indexes.get(interface)
    if index is None:
        return f"start what makes {interface}; routes follow by themselves when it is there"
    if index not in kernel.running:
        return f"`ip link set {interface} up`, or start what should keep it up"
    return "`cuberouted check` looks at this host's interfaces and addresses"


def _state(peer: PeerFacts) -> str:
    return f"{peer.state}{f': {peer.detail}' if peer.detail else ''}"


def _look_at(peer: PeerFacts) -> str:
    mgmt = format_address(peer.mgmt_ip)
    return (
        f"on {peer.name}: `systemctl status cuberouted`; from here: `ping {mgmt}` through"
        f" {peer.interface}"
    )


def _allow() -> str:
    return (
        "if clients use it, add its network to allowed_networks on every server, then"
        " `systemctl reload cuberouted`"
    )
