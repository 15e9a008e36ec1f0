from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Kind, LocalRoute, Prefix, SessionId
from cuberouted.openvpn.protocol import NO_CID, Established
from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from cuberouted.openvpn.status import ListedClient

A, B, A6 = Prefix.parse("10.9.0.50"), Prefix.parse("10.9.0.51"), Prefix.parse("fd00::50")
NET = Prefix.parse("192.168.50.0/24")


def event(cid: int = 1, since: int = 7, name: bytes = b"host1", **more: str) -> Established:
    env = {"common_name": name.decode(), "ifconfig_pool_remote_ip": "10.9.0.50"}
    env |= {"time_unix": str(since)} | more
    return Established(cid, {k.encode(): v.encode() for k, v in env.items()})


def client(
    *addresses: Prefix,
    cid: int = 1,
    since: int = 7,
    name: bytes = b"host1",
    networks: tuple[Prefix, ...] = (),
) -> list[LocalRoute]:
    """The routes of one client in a listing."""
    kinds = [(prefix, Kind.CLIENT) for prefix in addresses]
    kinds += [(prefix, Kind.NETWORK) for prefix in networks]
    id_ = SessionId(cid, since)
    return [LocalRoute(prefix, kind, name, id_, False, True) for prefix, kind in kinds]


def listed(sessions: Sessions, *clients: list[LocalRoute]) -> SessionUpdate | None:
    """The update of a listing that arrives all at once."""
    reconciliation = sessions.reconciliation()
    reconciliation.add(itertools.chain(*clients))
    return reconciliation.finish()


def ended_client(
    *prefixes: Prefix, cid: int = 1, since: int = 7, name: bytes = b"host1"
) -> ListedClient:
    return ListedClient(SessionId(cid, since), name, b"192.0.2.1:1", b"", b"", prefixes)


def route(
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


def update(
    *routes: LocalRoute, withdrawn: tuple[Prefix, ...] = (), complete: bool = True
) -> SessionUpdate:
    return SessionUpdate("x", routes, withdrawn, complete)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions("x")


def test_an_event_is_applied_at_once_and_the_listing_confirms_it(sessions: Sessions) -> None:
    first = route(A, confirmed=False)
    assert sessions.established(event()) == update(first, complete=False)
    shown = client(A, A6, networks=(NET,))
    assert listed(sessions, shown) == update(route(A), route(A6), route(NET, kind=Kind.NETWORK))
    assert listed(sessions, shown) is None
    assert sessions.count == 1


def test_an_event_that_comes_twice_changes_nothing(sessions: Sessions) -> None:
    sessions.established(event())
    listed(sessions, client(A))
    assert sessions.established(event()) is None
    assert listed(sessions, client(A)) is None


def test_a_session_first_found_in_a_listing_was_not_announced(sessions: Sessions) -> None:
    assert listed(sessions, client(A)) == update(route(A, announced=False))


def test_the_first_complete_listing_is_an_update_even_if_it_is_empty(sessions: Sessions) -> None:
    assert listed(sessions) == update()
    assert listed(sessions) is None


def test_a_listing_that_began_after_the_event_and_lacks_it_withdraws_it(sessions: Sessions) -> None:
    sessions.established(event())
    assert listed(sessions) == update(withdrawn=(A,))


def test_a_listing_that_began_before_the_event_leaves_it_alone(sessions: Sessions) -> None:
    listed(sessions, client(A, cid=0, since=3))
    reconciliation = sessions.reconciliation()
    reconciliation.add(client(A, cid=0, since=3))
    sessions.established(event())
    assert reconciliation.finish() is None
    assert listed(sessions, client(A)) == update(route(A))


def test_an_event_takes_the_address_from_its_previous_session(sessions: Sessions) -> None:
    listed(sessions, client(A, cid=0, since=3, name=b"old"))
    assert sessions.established(event()) == update(route(A, confirmed=False))


def test_a_client_that_is_no_longer_listed_is_withdrawn(sessions: Sessions) -> None:
    listed(sessions, client(A, A6), client(B, cid=2))
    assert listed(sessions, client(B, cid=2)) == update(withdrawn=(A, A6))


def test_an_address_that_moves_between_clients_is_replaced_not_withdrawn(
    sessions: Sessions,
) -> None:
    listed(sessions, client(A))
    moved = client(A, cid=2, since=9, name=b"host2")
    assert listed(sessions, moved) == update(
        route(A, cid=2, since=9, name=b"host2", announced=False)
    )


def test_a_client_id_that_comes_again_after_a_restart_is_another_session(
    sessions: Sessions,
) -> None:
    sessions.established(event(cid=0, since=7))
    listed(sessions, client(A, cid=0, since=7))
    again = client(A, cid=0, since=99)
    assert listed(sessions, again) == update(route(A, cid=0, since=99, announced=False))


def test_the_listing_corrects_the_name(sessions: Sessions) -> None:
    sessions.established(event(name=b"certificate"))
    assert listed(sessions, client(A, name=b"user")) == update(route(A, name=b"user"))


def test_without_client_ids_start_and_name_identify_the_session(sessions: Sessions) -> None:
    # OpenVPN 2.3: the event has one, the listing has not
    sessions.established(event(cid=5))
    assert listed(sessions, client(A, cid=NO_CID)) == update(route(A, cid=5))
    assert listed(sessions, client(A, cid=NO_CID)) is None


def test_an_announced_ipv6_client_is_announced_by_its_listing(sessions: Sessions) -> None:
    assert sessions.established(event(ifconfig_pool_remote_ip="")) is None
    assert listed(sessions, client(A6)) == update(route(A6))


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
def test_an_event_without_the_needed_variables_changes_nothing(
    sessions: Sessions, env: dict[str, str]
) -> None:
    assert sessions.established(event(1, 7, b"host1", **env)) is None
    assert sessions.count == 0


def test_with_an_env_filter_the_certificates_name_is_used(sessions: Sessions) -> None:
    result = sessions.established(event(common_name="", X509_0_CN="host9"))
    assert result is not None
    assert result.routes[0].name == b"host9"


def test_a_session_that_ended_is_withdrawn_with_all_its_prefixes(sessions: Sessions) -> None:
    gone = ended_client(A, A6, NET)
    listed(sessions, client(A, A6, networks=(NET,)), client(B, cid=2))
    assert sessions.ended(gone) == update(withdrawn=(A, A6, NET))
    assert sessions.ended(gone) is None
    assert listed(sessions, client(B, cid=2)) is None


def test_a_prefix_that_a_newer_session_holds_is_not_withdrawn(sessions: Sessions) -> None:
    gone = ended_client(A)
    listed(sessions, client(A))
    sessions.established(event(cid=2, since=9))
    assert sessions.ended(gone) is None
    assert sessions.get(A) == route(A, cid=2, since=9, confirmed=False)


def test_withdraw_all_withdraws_everything_and_ends_completeness(sessions: Sessions) -> None:
    assert sessions.withdraw_all() is None
    listed(sessions, client(A, A6))
    assert sessions.withdraw_all() == update(withdrawn=(A, A6), complete=False)
    assert sessions.withdraw_all() is None
    assert listed(sessions) == update()


def test_what_was_withdrawn_while_a_listing_arrived_is_announced_again(sessions: Sessions) -> None:
    listed(sessions, client(A))
    reconciliation = sessions.reconciliation()
    reconciliation.add(client(A))
    sessions.withdraw_all()
    assert reconciliation.finish() == update(route(A, announced=False))


ADDRESSES = st.sampled_from([A, B, A6])
SESSIONS = st.builds(
    client,
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
        st.lists(SESSIONS, max_size=3, unique_by=lambda routes: routes[0].prefix),
        st.none(),
    ),
    max_size=12,
)


@given(STEPS)
def test_the_updates_add_up_to_the_last_listing(
    steps: list[Established | list[list[LocalRoute]] | None],
) -> None:
    sessions = Sessions("x")
    held: dict[Prefix, LocalRoute] = {}
    for step in [*steps, [client(B)]]:
        if isinstance(step, Established):
            result = sessions.established(step)
        elif step is None:
            result = sessions.withdraw_all()
        else:
            result = listed(sessions, *step)
        for prefix in result.withdrawn if result else ():
            del held[prefix]
        for item in result.routes if result else ():
            assert held.get(item.prefix) != item
            held[item.prefix] = item
        if isinstance(step, list):
            assert {(p, c.name) for p, c in held.items()} == {
                (route.prefix, route.name) for routes in step for route in routes
            }
            assert all(c.confirmed for c in held.values())


def test_20_000_clients_are_compared_fast(sessions: Sessions) -> None:
    everybody = [
        client(Prefix.host(bytes((10, i >> 8, i & 255, 1))), cid=i, name=b"c%d" % i)
        for i in range(20_000)
    ]
    began = time.process_time()
    result = listed(sessions, *everybody)
    assert result is not None
    assert len(result.routes) == 20_000
    assert listed(sessions, *everybody) is None
    assert time.process_time() - began < 1.0  # some 0.1 s; far more if quadratic
