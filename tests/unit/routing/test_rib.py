import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import (
    ADOPTED_VERSION,
    Origin,
    Rib,
    RibRoute,
    Source,
    precedence,
    reason,
    supersedes,
)

A = Source(Origin.LOCAL, "")
B, C = Source(Origin.PEER, "vpnsrvB"), Source(Origin.PEER, "vpnsrvC")
HOST1, HOST2 = Prefix.parse("10.100.100.11"), Prefix.parse("10.100.100.12")
OUTSIDE = Prefix.parse("10.55.0.1")
POLICY = Policy(allowed=(Prefix.parse("10.100.100.0/24"),))


def route(prefix=HOST1, version=1_000, name=b"host1", confirmed=True, kind=Kind.CLIENT):
    return Advertisement(prefix, kind, name, version, confirmed)


@pytest.fixture
def rib():
    return Rib(POLICY)


def update(rib, source, *advertisements, withdraw=()):
    node = "vpnsrvA" if source.origin is Origin.LOCAL else source.name
    return rib.update(source, node, advertisements, withdraw)


def best_node(rib, prefix=HOST1):
    best = rib.best(prefix)
    return best and best.node


@pytest.mark.parametrize(
    ("b", "c", "winner"),
    [
        (route(version=2), route(version=1), "vpnsrvB"),
        (route(version=1), route(version=2), "vpnsrvC"),
        (route(version=2), route(version=2), "vpnsrvB"),  # a tie: the lower node name
        (route(version=2, confirmed=False), route(version=1), "vpnsrvB"),
        (route(version=2), route(version=1, kind=Kind.SERVER), "vpnsrvB"),
    ],
)
def test_the_highest_version_wins_in_any_order_of_arrival(b, c, winner):
    for order in ((B, b), (C, c)), ((C, c), (B, b)):
        rib = Rib(POLICY)
        for source, advertisement in order:
            update(rib, source, advertisement)
        assert best_node(rib) == winner


def test_only_changes_of_the_best_route_are_reported(rib):
    assert update(rib, B, route()).changed_prefixes.keys() == {HOST1}
    assert update(rib, B, route()).changed_prefixes == {}
    assert update(rib, C, route(version=1)).changed_prefixes == {}
    assert update(rib, B, withdraw=[HOST1]).changed_prefixes.keys() == {HOST1}
    assert best_node(rib) == "vpnsrvC"


def test_changes_are_reported_in_the_order_of_the_update(rib):
    prefixes = [Prefix.host(bytes((10, 100, 100, last))) for last in (7, 200, 1, 30)]
    assert [*update(rib, B, *map(route, prefixes)).changed_prefixes] == prefixes
    assert [*update(rib, B, withdraw=prefixes[::-1]).changed_prefixes] == prefixes[::-1]


def test_what_the_policy_refuses_is_accepted_once_a_new_policy_allows_it(rib):
    change = update(rib, B, route(OUTSIDE))
    assert [why for _, why in change.refused] == ["outside allowed_networks"]
    assert best_node(rib, OUTSIDE) is None
    rib.policy = Policy(allowed=(OUTSIDE,))
    assert rib.reevaluate(B, [OUTSIDE, HOST1]).changed_prefixes.keys() == {OUTSIDE}
    assert best_node(rib, OUTSIDE) == "vpnsrvB"


def test_a_narrower_policy_withdraws_our_own_advertisements(rib):
    update(rib, A, route())
    rib.policy = Policy()
    assert rib.reevaluate(A, [HOST1]).withdraw == [HOST1]


def test_the_highest_version_is_remembered_after_the_route_is_withdrawn(rib):
    update(rib, B, route(version=5_000_000))
    update(rib, B, withdraw=[HOST1])
    assert (rib.highest_version(HOST1), rib.highest_version(HOST2)) == (5_000_000, 0)


NEWER = route(version=9_000_000)


@pytest.mark.parametrize(
    ("theirs", "superseded"),
    [
        (NEWER, True),
        (route(version=9_000_000, confirmed=False), False),  # a script may yet refuse it
        (route(version=9_000_000, name=b"host2"), False),  # overlapping pools
        (route(version=3_000_000), False),  # a tie proves nothing
        (route(version=1), False),
        (route(version=9_000_000, kind=Kind.NETWORK), False),
    ],
)
def test_only_a_newer_confirmed_session_of_the_same_name_supersedes(rib, theirs, superseded):
    ours = route(version=3_000_000)
    update(rib, A, ours)
    change = update(rib, B, theirs)
    assert change.superseded == ({""} if superseded else set())
    found = {p: (local.advertisement, best.node) for p, (local, best) in rib.superseded("").items()}
    assert found == ({HOST1: (ours, "vpnsrvB")} if superseded else {})


def test_a_session_is_no_longer_superseded_when_either_side_is_withdrawn(rib):
    update(rib, A, route(version=3_000_000))
    update(rib, B, NEWER)
    assert update(rib, B, withdraw=[HOST1]).superseded == {""}
    assert not rib.superseded("")
    update(rib, B, NEWER)
    assert update(rib, A, withdraw=[HOST1]).superseded == {""}
    assert not rib.superseded("")


def test_a_client_that_moves_between_two_openvpn_processes_of_one_host(rib):
    udp, tcp = Source(Origin.LOCAL, "udp"), Source(Origin.LOCAL, "tcp")
    update(rib, udp, route(version=3_000_000))
    change = update(rib, tcp, route(version=4_000_000))
    assert [a.version for a in change.advertise] == [4_000_000]
    assert [best.node for _, best in rib.superseded("udp").values()] == ["vpnsrvA"]
    assert not rib.superseded("tcp")
    assert [a.version for a in update(rib, tcp, withdraw=[HOST1]).advertise] == [3_000_000]


def test_two_common_names_on_one_address_are_a_conflict_while_both_stand(rib):
    update(rib, A, route(version=3_000_000))
    update(rib, B, route(version=1, name=b"host2"), route(HOST2))
    [(best, other)] = rib.address_conflicts()
    assert (best.node, other.node) == ("vpnsrvA", "vpnsrvB")
    assert rib.address_conflict_count == 1
    update(rib, B, withdraw=[HOST1])
    assert not list(rib.address_conflicts())
    assert rib.address_conflict_count == 0


def test_a_conflict_ends_when_one_of_three_is_another_client_of_the_same_name(rib):
    for source, version in ((A, 3), (B, 2), (C, 1)):
        update(rib, source, route(version=version))
    assert rib.address_conflict_count == 0
    update(rib, B, route(version=4, name=b"host2"))
    assert rib.address_conflict_count == 1
    update(rib, A, withdraw=[HOST1])
    assert rib.address_conflict_count == 1
    update(rib, B, route(version=5))
    assert rib.address_conflict_count == 0


def test_every_advertisement_is_better_than_an_adopted_route(rib):
    assert rib.adopt(B, "vpnsrvB", Kind.CLIENT, [HOST1, HOST2]).changed_prefixes.keys() == {
        HOST1,
        HOST2,
    }
    update(rib, C, route(version=1))
    assert best_node(rib) == "vpnsrvC"
    update(rib, A, route(HOST2, version=1))
    assert best_node(rib, HOST2) == "vpnsrvA"
    assert not list(rib.address_conflicts())
    assert not rib.superseded("")


# -- networks inside each other --

BRANCH, HQ = Prefix.parse("192.168.50.0/24"), Prefix.parse("192.168.0.0/16")


def network(prefix, version=1_000):
    return route(prefix, version, kind=Kind.NETWORK)


@pytest.fixture
def nested(rib):
    rib.policy = Policy(allowed=(HQ, *POLICY.allowed))
    update(rib, A, route(), network(BRANCH))
    return rib


def test_a_local_prefix_is_covered_while_a_wider_best_route_leads_to_another_node(nested):
    assert not nested.is_covered(BRANCH)
    assert [*update(nested, B, network(HQ)).inside] == [BRANCH]
    assert nested.is_covered(BRANCH)
    assert not nested.is_covered(HQ)
    assert not nested.is_covered(HOST1)
    assert [*update(nested, C, network(HQ, 2_000)).inside] == []  # another owner
    assert [*update(nested, A, network(HQ, 3_000)).inside] == [BRANCH]
    assert not nested.is_covered(BRANCH)
    assert [*update(nested, A, withdraw=[HQ]).inside] == [BRANCH]
    assert [*update(nested, C, withdraw=[HQ]).inside] == []
    assert [*update(nested, B, withdraw=[HQ]).inside] == [BRANCH]
    assert not nested.is_covered(BRANCH)


def test_a_network_that_the_policy_refuses_covers_nothing(nested):
    nested.policy = Policy(allowed=(BRANCH,))
    assert [*update(nested, B, network(HQ)).inside] == []
    assert not nested.is_covered(BRANCH)
    nested.policy = Policy(allowed=(HQ,))
    assert [*nested.reevaluate(B, [HQ]).inside] == [BRANCH]
    assert nested.is_covered(BRANCH)


def test_a_route_to_this_host_that_was_in_the_kernel_covers_nothing(nested):
    ours = Source(Origin.KERNEL, "")
    assert [*nested.adopt(ours, "vpnsrvA", Kind.CLIENT, [HQ]).inside] == []
    assert [*nested.adopt(B, "vpnsrvB", Kind.CLIENT, [HQ]).inside] == []
    assert not nested.is_covered(BRANCH)
    assert [*update(nested, ours, withdraw=[HQ]).inside] == [BRANCH]
    assert nested.is_covered(BRANCH)


steps = st.lists(
    st.tuples(
        st.sampled_from([A, B, C]),
        st.sampled_from([HOST1, HOST2, OUTSIDE]),
        st.one_of(st.none(), st.integers(1, 4)),
    )
)


@given(steps)
def test_the_best_route_depends_on_what_stands_not_on_the_order(story):
    rib, standing = Rib(POLICY), {}
    announced: dict[Prefix, int | None] = {}
    reported = {}
    for source, prefix, version in story:
        advertise = [route(prefix, version)] if version else []
        change = update(rib, source, *advertise, withdraw=[] if version else [prefix])
        standing[source, prefix] = version
        announced.update({a.prefix: a.version for a in change.advertise})
        announced.update(dict.fromkeys(change.withdraw))
        reported.update({changed: best_node(rib, changed) for changed in change.changed_prefixes})
    for prefix in (HOST1, HOST2):
        nodes = [
            (-version, source.name or "vpnsrvA")
            for (source, advertised), version in standing.items()
            if advertised == prefix and version
        ]
        assert best_node(rib, prefix) == reported.get(prefix) == (min(nodes)[1] if nodes else None)
        assert announced.get(prefix) == standing.get((A, prefix))
    assert best_node(rib, OUTSIDE) is None


def test_sources_of_different_origin_are_different():
    assert Source(Origin.LOCAL, "x") != Source(Origin.PEER, "x")
    assert Source(B.origin, B.name) == B


def test_what_is_refused_stands_until_it_is_withdrawn_or_allowed(rib):
    update(rib, B, route(), route(OUTSIDE))
    assert rib.refused(B) == {OUTSIDE: "outside allowed_networks"}
    update(rib, B, withdraw=[OUTSIDE])
    assert rib.refused(B) == {}
    update(rib, B, route(OUTSIDE))
    rib.policy = Policy(allowed=(OUTSIDE,))
    rib.reevaluate(B, [OUTSIDE, HOST1])
    assert rib.refused(B) == {HOST1: "outside allowed_networks"}


def test_the_prefix_that_was_refused_last_is_the_last(rib):
    other = Prefix.parse("10.99.0.0/16")
    update(rib, B, route(OUTSIDE), route(other))
    update(rib, B, route(OUTSIDE))
    assert [*rib.refused(B)] == [other, OUTSIDE]


ROUTES = st.builds(
    RibRoute,
    st.builds(Source, st.sampled_from(Origin), st.sampled_from(["vpnsrvB", "vpnsrvC"])),
    st.sampled_from(["vpnsrvA", "vpnsrvB"]),
    st.builds(
        Advertisement,
        st.just(HOST1),
        st.sampled_from([Kind.CLIENT, Kind.SERVER]),
        st.sampled_from([b"host1", b"host2"]),
        st.sampled_from([ADOPTED_VERSION, 1, 2]),
        st.booleans(),
    ),
)


@given(ROUTES, ROUTES)
def test_the_reason_is_the_first_difference_that_orders_two_routes(one, other):
    if precedence(one) >= precedence(other):
        with pytest.raises(ValueError, match="does not come before"):
            reason(one, other)
        return
    why = reason(one, other)
    if one.advertisement.version != other.advertisement.version:
        expected = {"older", "lower", "advertised"}
    elif one.node != other.node:
        expected = {"name"}
    else:
        expected = {"node"}
    assert expected & set(re.split(r"\W+", why)), why


def test_every_claim_has_the_reason_why_it_is_not_the_best(rib):
    update(rib, A, route(version=3))
    update(rib, B, route(version=7))
    update(rib, C, route(version=7))
    rib.adopt(Source(Origin.KERNEL, ""), "vpnsrvA", Kind.CLIENT, [HOST1])
    best, tie, local, adopted = rib.claims(HOST1)
    assert best.route == rib.best(HOST1)
    assert (best.why, best.kept) == ("", None)
    assert tie.why == "the same version: vpnsrvB comes before vpnsrvC by its name"
    assert (local.why, local.kept) == ("its session is older than the one at vpnsrvB", None)
    assert adopted.why.startswith("found in the kernel, not advertised")
    assert rib.claims(HOST2) == []


def test_a_refused_claim_comes_last_with_the_policy_s_reason(rib):
    update(rib, B, route(OUTSIDE))
    [refused] = rib.claims(OUTSIDE)
    assert (refused.refused, refused.why) == (True, "refused: outside allowed_networks")
    rib.policy = Policy(allowed=(OUTSIDE,))
    update(rib, C, route(OUTSIDE))
    rib.policy = POLICY
    assert [(c.refused, c.route.source) for c in rib.claims(OUTSIDE)] == [(False, C), (True, B)]


@pytest.mark.parametrize(
    ("remote", "why"),
    [
        (route(version=2_000), None),
        (route(version=2_000, name=b"host2"), "the address pools overlap"),
        (route(version=2_000, confirmed=False), "is not in a listing there yet"),
        (route(version=2_000, kind=Kind.NETWORK), "only a client's address"),
    ],
)
def test_a_session_that_lost_and_is_kept_tells_why(rib, remote, why):
    update(rib, A, route())
    update(rib, B, remote)
    best, local = rib.claims(HOST1)
    assert (local.kept is None) == supersedes(best.route, local.route) == (why is None)
    assert why is None or why in (local.kept or "")
