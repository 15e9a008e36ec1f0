"""`why` on the address of a service: which node has it, and what else may be."""

from __future__ import annotations

import pytest

from cuberouted.daemon.why.answer import why
from cuberouted.daemon.why.report import explain
from cuberouted.daemon.why.verdict import judge
from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.routing.rib import Origin, Source
from cuberouted.routing.types import LOCAL_TABLE, RTN_LOCAL
from cuberouted.service_claim import ServiceClaim, ServicePhase
from tests.unit.daemon.meshes import HOST1
from tests.unit.daemon.why.test_verdict import DOWN, NOW, TUN0, B, advert, kernel, mesh, route

SERVICES = Source(Origin.LOCAL, "(services)")
C = Source(Origin.PEER, "vpnsrvC")
DB = Prefix.parse("10.100.100.14")
HOLDING, STANDBY = ServicePhase.HOLDING, ServicePhase.STANDBY
LAST_RESORT = ServicePhase.LAST_RESORT


def service(phase=HOLDING, priority=100, reason="", nearest=False, prefix=DB, held_since=0):
    claim = ServiceClaim(phase, priority, held_since, nearest, reason)
    return Advertisement(prefix, Kind.SERVICE, b"db", 1, True, 0, claim)


ON_LO = route(device=1, protocol=2, table=LOCAL_TABLE, type=RTN_LOCAL)
WIDER = route(Prefix.parse("10.100.100.0/24"), TUN0, 2, 0)

SITUATIONS = {
    "a peer has it": (
        mesh((B, service()), (SERVICES, service(STANDBY))),
        kernel(route()),
        True,
        "10.100.100.14 is reached through tun1: vpnsrvB has the address of service db",
        "",
    ),
    "a peer has it as a last resort": (
        mesh((B, service(LAST_RESORT, reason="its check fails"))),
        kernel(route()),
        True,
        (
            "10.100.100.14 is reached through tun1: vpnsrvB has the address of service db;"
            " it has the address only until another node can take it: its check fails"
        ),
        "",
    ),
    "a peer has had it for some time": (
        mesh((B, service(held_since=int(NOW - 250) * 1_000_000))),
        kernel(route()),
        True,
        (
            "10.100.100.14 is reached through tun1: vpnsrvB has the address of service db,"
            " taken 4 min ago"
        ),
        "",
    ),
    "packets go elsewhere": (
        mesh((B, service())),
        kernel(WIDER),
        False,
        (
            "10.100.100.14 is not reached: packets to service db at vpnsrvB follow"
            " 10.100.100.0/24 dev tun0 in table main (protocol kernel)"
        ),
        "set",
    ),
    "the peer that has it is down": (
        mesh((B, service()), peer=DOWN),
        kernel(route()),
        False,
        (
            "10.100.100.14 may not be reached: packets leave through tun1 to vpnsrvB, which is"
            " down: nothing received for 3 s"
        ),
        "`systemctl status cuberouted`",
    ),
    "this node has it": (
        mesh((SERVICES, service()), (B, service(STANDBY)), nexthop=None, interface=""),
        kernel(ON_LO),
        True,
        "10.100.100.14 is on lo of this host: vpnsrvA has the address of service db",
        "",
    ),
    "this node should have it": (
        mesh((SERVICES, service()), nexthop=None, interface=""),
        kernel(WIDER),
        False,
        (
            "10.100.100.14 is not reached: it is not on an interface here, but vpnsrvA has the"
            " address of service db"
        ),
        "ask again",
    ),
    "somebody has put it here too": (
        mesh((B, service()), (SERVICES, service(STANDBY))),
        kernel(ON_LO),
        False,
        (
            "10.100.100.14 is not reached from here: it is on lo of this host, but vpnsrvB has"
            " the address of service db"
        ),
        "remove it here",
    ),
    "nobody has it": (
        mesh((B, service(ServicePhase.UNFIT, reason="its check fails")), (C, service(STANDBY))),
        kernel(WIDER),
        False,
        (
            "10.100.100.14 is not reached: no node has the address of service db:"
            " vpnsrvB (it cannot have the address: its check fails), vpnsrvC (it is on standby)"
        ),
        "`cuberouted services`",
    ),
    "nobody has it, and a peer is not heard": (
        mesh((SERVICES, service(STANDBY)), unheard=[DOWN], nexthop=None),
        kernel(WIDER),
        False,
        (
            "10.100.100.14 is not reached: no node has the address of service db:"
            " vpnsrvA (it is on standby), vpnsrvB (peer down)"
        ),
        "`cuberouted services`",
    ),
    "nobody says that he has it, but it was on a peer before the restart": (
        mesh((SERVICES, service(STANDBY)), (B, advert(version=0)), nexthop=None),
        kernel(route()),
        False,
        (
            "10.100.100.14 is not reached: no node has the address of service db:"
            " vpnsrvA (it is on standby); a route of before our restart is kept until its peer is"
            " heard"
        ),
        "`cuberouted services`",
    ),
    "nobody says that he has it, but it is on this host": (
        mesh((SERVICES, service(STANDBY)), nexthop=None),
        kernel(ON_LO),
        False,
        (
            "10.100.100.14 is on lo of this host, but no node claims to have it, as service db:"
            " vpnsrvA (it is on standby)"
        ),
        "`cuberouted services`",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_verdict_tells_who_has_the_address(situation):
    facts, found, reached, verdict, advice = SITUATIONS[situation]
    judgement = judge(facts, found)
    assert (judgement.reached, judgement.verdict) == (reached, verdict)
    assert advice in judgement.advice
    assert bool(advice) == bool(judgement.advice)


def test_every_claim_has_its_phase_priority_and_reason():
    facts = mesh((B, service()), (SERVICES, service(STANDBY, 50)), (C, advert(name=b"host9")))
    found = explain(facts, kernel(route()))
    assert [(c.node, c.kind, c.name, c.phase, c.priority, c.best, c.why) for c in found.claims] == [
        ("vpnsrvB", "service", "db", "holding", 100, True, ""),
        ("vpnsrvA", "service", "db", "standby", 50, False, "it is on standby"),
        (
            "vpnsrvC",
            "client",
            "host9",
            "",
            None,
            False,
            "the address of service db: that comes before any other kind of route",
        ),
    ]
    assert [lookup.right for lookup in found.lookups] == [True, True]
    assert found.notes == []


def test_a_claim_without_the_address_is_not_the_best():
    found = explain(mesh((B, service(STANDBY))), kernel(WIDER))
    assert [(c.best, c.why) for c in found.claims] == [(False, "it is on standby")]


@pytest.mark.parametrize("best", [service(), service(STANDBY)])
def test_packets_that_end_here_are_wrong_where_another_node_has_the_address(best):
    found = explain(mesh((B, best)), kernel(ON_LO))
    assert [lookup.right for lookup in found.lookups] == [best.service.phase is STANDBY] * 2


async def test_a_service_of_the_mesh_by_address_and_by_name(mesh, autojump_clock):
    address = "10.100.100.200"
    db = Prefix.parse(address)
    for name, priority in (("A", 50), ("B", 100)):
        section = f"[service db]\naddress = {address}\npriority = {priority}\n"
        mesh.add(name, "allowed_networks = 10.100.100.0/24", section)
    await mesh.start()
    a, b = mesh["A"], mesh["B"]
    a.connect("host1", HOST1)
    await mesh.until(lambda: db in a.kernel.installed.routes)
    for target in (address, "db"):
        answer = await why(a.daemon, target)
        assert (answer.reached, answer.verdict) == (
            True,
            f"{address} is reached through to-B: B has the address of service db, taken just now",
        )
        [one] = answer.addresses
        assert [(c.node, c.phase) for c in one.claims] == [("B", "holding"), ("A", "standby")]
    here = await why(b.daemon, "db")
    holds = "B has the address of service db, taken just now"
    assert here.verdict == f"{address} is on lo of this host: {holds}"
    assert here.reached
