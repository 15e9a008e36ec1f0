"""Claims to shared service addresses among the routes of the RIB."""

from __future__ import annotations

import itertools

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import ADOPTED_VERSION, Origin, Rib, Source, precedence
from cuberouted.service_claim import ServiceClaim, ServicePhase, routing_key

OURS = Source(Origin.LOCAL, "(services)")
A = Source(Origin.LOCAL, "")
B, C = Source(Origin.PEER, "vpnsrvB"), Source(Origin.PEER, "vpnsrvC")
DB = Prefix.parse("10.100.100.200")
POLICY = Policy(allowed=(Prefix.parse("10.100.100.0/24"),))
HOLDING, STANDBY = ServicePhase.HOLDING, ServicePhase.STANDBY


def service(phase=HOLDING, priority=100, held_since=0, nearest=False, why=""):
    claim = ServiceClaim(phase, priority, held_since, nearest, why)
    return Advertisement(DB, Kind.SERVICE, b"db", 1, True, 0, claim)


def client(version=10**15, name=b"host1", kind=Kind.CLIENT):
    return Advertisement(DB, kind, name, version, confirmed=True)


def node(source):
    return "vpnsrvA" if source.origin is Origin.LOCAL else source.name


def rib_of(*routes):
    rib = Rib(POLICY)
    for source, advertisement in routes:
        rib.update(source, node(source), [advertisement])
    return rib


ADOPTED = Advertisement(DB, Kind.CLIENT, b"", ADOPTED_VERSION, confirmed=False)


@pytest.mark.parametrize(
    "other", [(C, client()), (A, client()), (C, client(kind=Kind.SERVER)), (C, ADOPTED)]
)
@pytest.mark.parametrize("source", [OURS, B])
def test_a_service_comes_before_any_other_route_to_its_address(source, other):
    for order in itertools.permutations([(source, service(STANDBY)), other]):
        rib = rib_of(*order)
        assert rib.best(DB).source == source
        assert [route.source for route in rib.services(DB)] == [source]
        assert not rib.superseded("")


CLAIMS = st.builds(
    ServiceClaim,
    st.sampled_from(ServicePhase),
    st.integers(0, 2),
    st.integers(0, 2),
    st.booleans(),
)


@given(CLAIMS, CLAIMS)
def test_claims_have_their_own_order_whichever_comes_first(one, two):
    keys = {
        OURS: routing_key(one, "vpnsrvA", is_local=True),
        B: routing_key(two, "vpnsrvB", is_local=False),
    }
    routes = [
        (source, msgspec.structs.replace(service(), service=claim))
        for source, claim in ((OURS, one), (B, two))
    ]
    for order in (routes, routes[::-1]):
        found = [route.source for route in rib_of(*order).services(DB)]
        assert found == sorted(keys, key=lambda source: keys[source])


@pytest.mark.parametrize(
    ("best", "other", "why"),
    [
        (service(), service(STANDBY), "it is on standby"),
        (
            service(),
            service(ServicePhase.UNFIT, why="its check fails"),
            "it cannot have the address: its check fails",
        ),
        (
            service(),
            service(ServicePhase.LAST_RESORT, 200, why="its check fails"),
            "it has the address only until another node can take it: its check fails",
        ),
        (service(), service(priority=50), "its priority 50 is below the 100 of vpnsrvB"),
        (
            service(held_since=5),
            service(held_since=7),
            "vpnsrvB has had the address for longer",
        ),
        (service(), service(), "the same priority: vpnsrvB comes first by its name"),
        (
            service(),
            client(),
            "the address of service db: that comes before any other kind of route",
        ),
        (service(STANDBY), ADOPTED, "found in the kernel, not advertised: whatever is"),
    ],
)
def test_the_reason_tells_what_has_decided(best, other, why):
    first, second = rib_of((C, other), (B, best)).claims(DB)
    assert (first.route.source, first.why) == (B, "")
    assert second.why.startswith(why)
    assert second.kept is None


def test_the_own_address_comes_first_where_the_placement_is_nearest():
    first, second = rib_of(
        (B, service(priority=200, nearest=True)), (OURS, service(nearest=True))
    ).claims(DB)
    assert first.route.source == OURS
    assert second.why == "placement = nearest: vpnsrvA is this node"


def test_a_local_claim_is_no_session_that_could_be_superseded():
    _, ours = rib_of((B, service(priority=200)), (OURS, service())).claims(DB)
    assert (ours.route.source, ours.kept) == (OURS, None)


def test_changes_of_claims_are_told_also_of_those_that_are_not_the_best():
    rib = Rib(POLICY)
    assert rib.update(B, "vpnsrvB", [client()]).services == set()
    assert rib.update(B, "vpnsrvB", [service()]).services == {DB}
    standby = rib.update(C, "vpnsrvC", [service(STANDBY)])
    assert (standby.services, standby.changed_prefixes) == ({DB}, {})
    assert rib.update(C, "vpnsrvC", [service(STANDBY)]).services == set()
    assert rib.update(C, "vpnsrvC", (), [DB]).services == {DB}
    assert rib.update(B, "vpnsrvB", [client()]).services == {DB}
    assert rib.update(B, "vpnsrvB", (), [DB]).services == set()


def test_our_claim_is_advertised_and_not_a_clients_at_its_address():
    rib = Rib(POLICY)
    rib.update(A, "vpnsrvA", [client()])
    assert rib.update(OURS, "vpnsrvA", [service()]).advertise == [service()]
    assert rib.update(A, "vpnsrvA", (), [DB]).advertise == []
    assert rib.update(OURS, "vpnsrvA", (), [DB]).withdraw == [DB]


def test_a_node_with_the_service_refuses_everything_else_at_its_address():
    configured = attrs.evolve(POLICY, services={DB.address: "db"})
    rib = rib_of((B, client()), (C, service(STANDBY)), (A, client()))
    rib.policy = configured
    for source in (A, B, C):
        rib.reevaluate(source, [DB])
    assert [route.source for route in rib.services(DB)] == [C]
    why = "refused: the address of service db"
    assert [(c.route.source, c.why) for c in rib.claims(DB)[1:]] == [(B, why), (A, why)]
    assert rib.services(DB) == [rib.best(DB)]


def test_the_keys_of_all_kinds_can_be_compared():
    rib = rib_of((B, client()), (C, service()), (A, client(version=7)), (OURS, service()))
    keys = [precedence(claim.route) for claim in rib.claims(DB)]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) == 4
