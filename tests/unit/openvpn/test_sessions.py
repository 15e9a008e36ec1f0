from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Kind, LocalRoute, Prefix, SessionId
from cuberouted.openvpn.protocol import NO_CID, Established
from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from cuberouted.openvpn.status import Client, Holding, Session

A, B, A6 = Prefix.parse("10.9.0.50"), Prefix.parse("10.9.0.51"), Prefix.parse("fd00::50")
NET = Prefix.parse("192.168.50.0/24")


def event(cid: int = 1, since: int = 7, name: bytes = b"host1", **more: str) -> Established:
    env = {"common_name": name.decode(), "ifconfig_pool_remote_ip": "10.9.0.50"}
    env |= {"time_unix": str(since)} | more
    return Established(cid, {k.encode(): v.encode() for k, v in env.items()})


def session(
    *addresses: Prefix,
    cid: int = 1,
    since: int = 7,
    name: bytes = b"host1",
    networks: tuple[Prefix, ...] = (),
) -> Session:
    return Session(cid, since, name, addresses, networks)


def listing(*sessions: Session) -> list[Holding]:
    """What a listing shows of them."""
    holdings = []
    for cid, since, name, addresses, networks in sessions:
        client = Client(cid, since, name, b"192.0.2.1:1", b"", b"")
        holdings += [Holding(prefix, Kind.CLIENT, client) for prefix in addresses]
        holdings += [Holding(prefix, Kind.NETWORK, client) for prefix in networks]
    return holdings


def listed(sessions: Sessions, *shown: Session) -> SessionUpdate | None:
    """The news of a listing that comes all at once."""
    correction = sessions.correction()
    correction.take(listing(*shown))
    return correction.finish()


def claim(
    prefix: Prefix,
    *,
    cid: int = 1,
    since: int = 7,
    name: bytes = b"host1",
    announced: bool = True,
    confirmed: bool = True,
    kind: Kind = Kind.CLIENT,
) -> LocalRoute:
    return LocalRoute(prefix, kind, name, SessionId(cid, since), announced, confirmed)


def news(
    *claims: LocalRoute, withdrawn: tuple[Prefix, ...] = (), complete: bool = True
) -> SessionUpdate:
    return SessionUpdate("x", claims, withdrawn, complete)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions("x")


def test_an_event_is_claimed_at_once_and_the_listing_confirms_it(sessions: Sessions) -> None:
    first = claim(A, confirmed=False)
    assert sessions.established(event()) == news(first, complete=False)
    shown = session(A, A6, networks=(NET,))
    assert listed(sessions, shown) == news(claim(A), claim(A6), claim(NET, kind=Kind.NETWORK))
    assert listed(sessions, shown) is None
    assert sessions.count == 1


def test_an_event_that_comes_twice_is_no_news(sessions: Sessions) -> None:
    sessions.established(event())
    listed(sessions, session(A))
    assert sessions.established(event()) is None
    assert listed(sessions, session(A)) is None


def test_a_session_first_found_in_a_listing_was_not_announced(sessions: Sessions) -> None:
    assert listed(sessions, session(A)) == news(claim(A, announced=False))


def test_the_first_complete_listing_is_told_though_nobody_is_connected(sessions: Sessions) -> None:
    assert listed(sessions) == news()
    assert listed(sessions) is None


def test_a_listing_that_began_after_the_event_and_lacks_it_withdraws_it(sessions: Sessions) -> None:
    sessions.established(event())
    assert listed(sessions) == news(withdrawn=(A,))


def test_a_listing_that_began_before_the_event_leaves_it_alone(sessions: Sessions) -> None:
    listed(sessions, session(A, cid=0, since=3))
    correction = sessions.correction()
    correction.take(listing(session(A, cid=0, since=3)))
    sessions.established(event())
    assert correction.finish() is None
    assert listed(sessions, session(A)) == news(claim(A))


def test_an_event_takes_the_address_from_whoever_held_it(sessions: Sessions) -> None:
    listed(sessions, session(A, cid=0, since=3, name=b"old"))
    assert sessions.established(event()) == news(claim(A, confirmed=False))


def test_who_has_gone_from_the_listing_is_withdrawn(sessions: Sessions) -> None:
    listed(sessions, session(A, A6), session(B, cid=2))
    assert listed(sessions, session(B, cid=2)) == news(withdrawn=(A, A6))


def test_an_address_that_moves_between_clients_is_claimed_anew_not_withdrawn(
    sessions: Sessions,
) -> None:
    listed(sessions, session(A))
    moved = session(A, cid=2, since=9, name=b"host2")
    assert listed(sessions, moved) == news(claim(A, cid=2, since=9, name=b"host2", announced=False))


def test_a_client_id_that_comes_again_after_a_restart_is_another_session(
    sessions: Sessions,
) -> None:
    sessions.established(event(cid=0, since=7))
    listed(sessions, session(A, cid=0, since=7))
    again = session(A, cid=0, since=99)
    assert listed(sessions, again) == news(claim(A, cid=0, since=99, announced=False))


def test_the_listing_corrects_the_name(sessions: Sessions) -> None:
    sessions.established(event(name=b"certificate"))
    assert listed(sessions, session(A, name=b"user")) == news(claim(A, name=b"user"))


def test_without_client_ids_start_and_name_tell_the_session(sessions: Sessions) -> None:
    # OpenVPN 2.3: the event has one, the listing has not
    sessions.established(event(cid=5))
    assert listed(sessions, session(A, cid=NO_CID)) == news(claim(A, cid=5))
    assert listed(sessions, session(A, cid=NO_CID)) is None


def test_an_announced_ipv6_client_is_announced_by_its_listing(sessions: Sessions) -> None:
    assert sessions.established(event(ifconfig_pool_remote_ip="")) is None
    assert listed(sessions, session(A6)) == news(claim(A6))


@pytest.mark.parametrize(
    "env",
    [
        {"common_name": "UNDEF"},
        {"common_name": ""},
        {"ifconfig_pool_remote_ip": "10.9.0"},
        {"ifconfig_pool_remote_ip": "\xff"},
        {"time_unix": "yesterday"},
        {"time_unix": "9" * 5000},
    ],
)
def test_an_event_that_tells_too_little_claims_nothing(
    sessions: Sessions, env: dict[str, str]
) -> None:
    assert sessions.established(event(1, 7, b"host1", **env)) is None
    assert sessions.count == 0


def test_with_env_filter_the_certificates_name_serves(sessions: Sessions) -> None:
    told = sessions.established(event(common_name="", X509_0_CN="host9"))
    assert told is not None
    assert told.routes[0].name == b"host9"


def test_a_session_that_ended_is_withdrawn_with_all_that_it_held(sessions: Sessions) -> None:
    gone = listing(session(A, A6, networks=(NET,)))[0].client
    gone.addresses, gone.networks = (A, A6), (NET,)
    listed(sessions, session(A, A6, networks=(NET,)), session(B, cid=2))
    assert sessions.ended(gone) == news(withdrawn=(A, A6, NET))
    assert sessions.ended(gone) is None
    assert listed(sessions, session(B, cid=2)) is None


def test_what_a_newer_session_holds_by_now_stays(sessions: Sessions) -> None:
    gone = listing(session(A))[0].client
    gone.addresses = (A,)
    listed(sessions, session(A))
    sessions.established(event(cid=2, since=9))
    assert sessions.ended(gone) is None
    assert sessions.held(A) == claim(A, cid=2, since=9, confirmed=False)


def test_lost_withdraws_everything_and_nothing_is_complete_any_more(sessions: Sessions) -> None:
    assert sessions.lost() is None
    listed(sessions, session(A, A6))
    assert sessions.lost() == news(withdrawn=(A, A6), complete=False)
    assert sessions.lost() is None
    assert listed(sessions) == news()


def test_what_was_lost_while_a_listing_came_in_is_told_again(sessions: Sessions) -> None:
    listed(sessions, session(A))
    correction = sessions.correction()
    correction.take(listing(session(A)))
    sessions.lost()
    assert correction.finish() == news(claim(A, announced=False))


ADDRESSES = st.sampled_from([A, B, A6])
SESSIONS = st.builds(
    session,
    ADDRESSES,
    cid=st.integers(0, 2),
    since=st.integers(0, 2),
    name=st.sampled_from([b"a", b"b"]),
)
STEPS = st.lists(
    st.one_of(
        st.builds(
            event,
            cid=st.integers(0, 2),
            since=st.integers(0, 2),
            ifconfig_pool_remote_ip=st.sampled_from(["10.9.0.50", "10.9.0.51", ""]),
        ),
        st.lists(SESSIONS, max_size=3, unique_by=lambda s: s.addresses),
        st.none(),
    ),
    max_size=12,
)


@given(STEPS)
def test_the_news_add_up_to_what_the_last_listing_shows(
    steps: list[Established | list[Session] | None],
) -> None:
    sessions = Sessions("x")
    held: dict[Prefix, LocalRoute] = {}
    for step in [*steps, [session(B)]]:
        if isinstance(step, Established):
            told = sessions.established(step)
        elif step is None:
            told = sessions.lost()
        else:
            told = listed(sessions, *step)
        for prefix in told.withdrawn if told else ():
            del held[prefix]
        for item in told.routes if told else ():
            assert held.get(item.prefix) != item
            held[item.prefix] = item
        if isinstance(step, list):
            assert {(p, c.name) for p, c in held.items()} == {
                (p, s.name) for s in step for p in s.addresses
            }
            assert all(c.confirmed for c in held.values())


def test_20_000_clients_are_compared_fast(sessions: Sessions) -> None:
    everybody = [
        session(Prefix.host(bytes((10, i >> 8, i & 255, 1))), cid=i, name=b"c%d" % i)
        for i in range(20_000)
    ]
    began = time.process_time()
    told = listed(sessions, *everybody)
    assert told is not None
    assert len(told.routes) == 20_000
    assert listed(sessions, *everybody) is None
    assert time.process_time() - began < 1.0  # some 0.1 s; far more if quadratic
