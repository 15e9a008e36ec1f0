import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import MAX_VERSION, Advertisement, Kind, LocalRoute, Prefix, SessionId
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import Origin, Rib, Source

B, C = Source(Origin.PEER, "vpnsrvB"), Source(Origin.PEER, "vpnsrvC")
HOST1, HOST2 = Prefix.parse("10.100.100.11"), Prefix.parse("10.100.100.12")
ELSEWHERE = Prefix.parse("10.55.0.1")
ANYTHING = Policy(allowed=(Prefix.parse("10.100.100.0/24"),))


def said(prefix=HOST1, version=1_000, name=b"host1", confirmed=True, kind=Kind.CLIENT, since=0):
    return Advertisement(prefix, kind, name, version, confirmed, since)


def session(prefix=HOST1, since=1, cid=0, name=b"host1", announced=False, confirmed=True):
    return LocalRoute(prefix, Kind.CLIENT, name, SessionId(cid, since), announced, confirmed)


@pytest.fixture
def rib():
    return Rib("vpnsrvA", ANYTHING)


def update_peer(rib, source, *advertisements, withdraw=()):
    return rib.update_peer(source, source.name, advertisements, withdraw)


def where(rib, prefix=HOST1):
    best = rib.best(prefix)
    return best and best.node


@pytest.mark.parametrize(
    ("b", "c", "winner"),
    [
        (said(version=2), said(version=1), "vpnsrvB"),
        (said(version=1), said(version=2), "vpnsrvC"),
        (said(version=2), said(version=2), "vpnsrvB"),  # a tie: the lower node name
        (said(version=2, confirmed=False), said(version=1), "vpnsrvB"),
        (said(version=2), said(version=1, kind=Kind.SERVER), "vpnsrvB"),
    ],
)
def test_the_newest_claim_wins_in_whatever_order_they_come(b, c, winner):
    for order in ((B, b), (C, c)), ((C, c), (B, b)):
        rib = Rib("vpnsrvA", ANYTHING)
        for source, claim in order:
            update_peer(rib, source, claim)
        assert where(rib) == winner


def test_a_change_is_told_once(rib):
    assert update_peer(rib, B, said()).changed_prefixes.keys() == {HOST1}
    assert update_peer(rib, B, said()).changed_prefixes == {}
    assert update_peer(rib, C, said(version=1)).changed_prefixes == {}
    assert update_peer(rib, B, withdraw=[HOST1]).changed_prefixes.keys() == {HOST1}
    assert where(rib) == "vpnsrvC"


def test_changes_are_told_in_the_order_in_which_they_came(rib):
    prefixes = [Prefix.host(bytes((10, 100, 100, last))) for last in (7, 200, 1, 30)]
    assert [*update_peer(rib, B, *map(said, prefixes)).changed_prefixes] == prefixes
    assert [*update_peer(rib, B, withdraw=prefixes[::-1]).changed_prefixes] == prefixes[::-1]


def test_what_lies_outside_the_policy_is_refused_until_the_policy_changes(rib):
    outcome = update_peer(rib, B, said(ELSEWHERE))
    assert [why for _, why in outcome.refused] == ["outside allowed_networks"]
    assert where(rib, ELSEWHERE) is None
    assert rib.apply_policy(Policy(allowed=(ELSEWHERE,))).changed_prefixes.keys() == {ELSEWHERE}
    assert where(rib, ELSEWHERE) == "vpnsrvB"


def test_a_policy_that_narrows_takes_our_own_advertisements_back(rib):
    rib.update_local("", [session()])
    assert rib.apply_policy(Policy()).withdraw == [HOST1]


def test_a_session_that_announces_itself_is_newer_than_all_that_was_heard(rib):
    update_peer(rib, B, said(version=5_000_000))
    [told] = rib.update_local("", [session(since=3, announced=True, confirmed=False)]).advertise
    assert told == said(version=5_000_001, confirmed=False, since=3)
    assert where(rib) == "vpnsrvA"


def test_and_newer_than_what_has_since_been_withdrawn(rib):
    update_peer(rib, B, said(version=5_000_000))
    update_peer(rib, B, withdraw=[HOST1])
    [told] = rib.update_local("", [session(since=3, announced=True)]).advertise
    assert told.version == 5_000_001


def test_a_session_found_in_a_listing_is_as_old_as_it_is(rib):
    update_peer(rib, B, said(version=5_000_000))
    [told] = rib.update_local("", [session(since=3)]).advertise
    assert told.version == 3_000_000
    assert where(rib) == "vpnsrvB"


def test_a_session_once_known_keeps_its_version(rib):
    rib.update_local("", [session(since=3, announced=True, confirmed=False)])
    update_peer(rib, B, said(version=9_000_000))
    [told] = rib.update_local("", [session(since=3, announced=True, confirmed=True)]).advertise
    assert told == said(version=3_000_000, since=3)


def test_the_same_client_id_after_an_openvpn_restart_is_another_session(rib):
    rib.update_local("", [session(since=3)])
    [told] = rib.update_local("", [session(since=8)]).advertise
    assert told.version == 8_000_000


def test_a_session_that_a_refused_client_displaced_keeps_its_version(rib):
    rib.update_local("", [session(since=2, announced=True)])
    rib.update_local("", [session(since=3, announced=True, confirmed=False)])
    update_peer(rib, B, said(version=9_000_000))
    for since in (10, 11):
        rib.update_local("", [session(since=since, announced=True, confirmed=False)])
    [told] = rib.update_local("", [session(since=3, announced=True)]).advertise
    assert told == said(version=3_000_000, since=3)
    assert where(rib) == "vpnsrvB"


def test_a_version_never_leaves_its_range(rib):
    update_peer(rib, B, said(version=MAX_VERSION - 1))
    [told] = rib.update_local("", [session(since=3, announced=True)]).advertise
    assert told.version == MAX_VERSION - 1


NEWER = said(version=9_000_000)


@pytest.mark.parametrize(
    ("theirs", "dropped"),
    [
        (NEWER, True),
        (said(version=9_000_000, confirmed=False), False),  # a script may yet refuse that client
        (said(version=9_000_000, name=b"host2"), False),  # overlapping pools
        (said(version=3_000_000), False),  # a tie proves nothing
        (said(version=1), False),
        (said(version=9_000_000, kind=Kind.NETWORK), False),
    ],
)
def test_a_session_is_superseded_only_by_a_newer_confirmed_one_of_its_name(rib, theirs, dropped):
    ours = session(since=3)
    rib.update_local("", [ours])
    update_peer(rib, B, theirs)
    assert [s.session for s in rib.superseded("")] == [ours.session] * dropped


def test_a_session_is_superseded_no_more_when_either_side_has_gone(rib):
    rib.update_local("", [session(since=3)])
    update_peer(rib, B, NEWER)
    update_peer(rib, B, withdraw=[HOST1])
    assert not rib.superseded("")
    update_peer(rib, B, NEWER)
    rib.update_local("", [], [HOST1])
    assert not rib.superseded("")


def test_a_client_that_moves_between_two_openvpn_processes_of_one_host(rib):
    rib.update_local("udp", [session(since=3)])
    outcome = rib.update_local("tcp", [session(since=4)])
    assert [a.version for a in outcome.advertise] == [4_000_000]
    assert [s.node for s in rib.superseded("udp")] == ["vpnsrvA"]
    assert not rib.superseded("tcp")
    assert [a.version for a in rib.update_local("tcp", [], [HOST1]).advertise] == [3_000_000]


def test_overlapping_pools_are_found(rib):
    rib.update_local("", [session(since=3)])
    update_peer(rib, B, said(version=1, name=b"host2"), said(HOST2))
    [(best, other)] = rib.address_conflicts()
    assert (best.node, other.node) == ("vpnsrvA", "vpnsrvB")


def test_adopted_routes_stand_until_anybody_says_better(rib):
    assert rib.adopt(B, Kind.CLIENT, [HOST1, HOST2]).changed_prefixes.keys() == {HOST1, HOST2}
    update_peer(rib, C, said(version=1))
    assert where(rib) == "vpnsrvC"
    rib.update_local("", [session(HOST2, since=0)])
    assert where(rib, HOST2) == "vpnsrvA"
    assert not list(rib.address_conflicts())
    assert not rib.superseded("")


changes = st.lists(
    st.tuples(
        st.sampled_from([B, C, None]),
        st.sampled_from([HOST1, HOST2, ELSEWHERE]),
        st.one_of(st.none(), st.integers(1, 4)),
    )
)


@given(changes)
def test_what_is_best_follows_from_what_stands_not_from_how_it_came(steps):
    rib, standing = Rib("vpnsrvA", ANYTHING), {}
    told: dict[Prefix, int | None] = {}
    followed = {}
    for source, prefix, version in steps:
        if source is None:
            claims = [session(prefix, since=version)] if version else []
            outcome = rib.update_local("", claims, [] if version else [prefix])
            version = version and version * 1_000_000
        else:
            claims = [said(prefix, version)] if version else []
            outcome = update_peer(rib, source, *claims, withdraw=[] if version else [prefix])
        standing[source, prefix] = version
        told.update({a.prefix: a.version for a in outcome.advertise})
        told.update(dict.fromkeys(outcome.withdraw))
        followed.update({moved: where(rib, moved) for moved in outcome.changed_prefixes})
    for prefix in (HOST1, HOST2):
        nodes = [
            (-version, source.name if source else "vpnsrvA")
            for (source, claimed), version in standing.items()
            if claimed == prefix and version
        ]
        assert where(rib, prefix) == followed.get(prefix) == (min(nodes)[1] if nodes else None)
        assert told.get(prefix) == standing.get((None, prefix))
    assert where(rib, ELSEWHERE) is None


def test_sources_are_told_apart_by_what_they_are():
    assert Source(Origin.LOCAL, "x") != Source(Origin.PEER, "x")
    assert Source(B.origin, B.name) == B
