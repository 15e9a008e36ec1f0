"""The state of a connection as libzmq's monitor events describe it."""

from __future__ import annotations

import pytest
from zmq import Event

from cuberouted.peering.transport import ConnectionState
from cuberouted.peering.zmq.subscriber import ConnectionTracker

CONNECTED, DISCONNECTED = ConnectionState.CONNECTED, ConnectionState.DISCONNECTED
ATTEMPT = (Event.CONNECT_DELAYED, Event.CONNECTED)


def after(*events: Event, encrypted: bool = False) -> ConnectionTracker:
    tracker = ConnectionTracker(encrypted=encrypted)
    for event in events:
        tracker.handle(event)
    return tracker


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(
    "failure", [Event.HANDSHAKE_FAILED_PROTOCOL, Event.HANDSHAKE_FAILED_NO_DETAIL]
)
@pytest.mark.parametrize("then", [(), (Event.CONNECT_RETRIED,), (Event.DISCONNECTED,)])
def test_a_tcp_connection_without_a_handshake_is_reported_as_such(
    encrypted: bool, failure: Event, then: tuple[Event, ...]
) -> None:
    tracker = after(*ATTEMPT, failure, *then, encrypted=encrypted)
    assert tracker.state is ConnectionState.NO_HANDSHAKE


@pytest.mark.parametrize(
    ("encrypted", "state"),
    [(False, ConnectionState.ADDRESS_REJECTED), (True, ConnectionState.KEY_REJECTED)],
)
def test_a_rejection_by_zap_is_final_until_the_next_attempt(
    encrypted: bool, state: ConnectionState
) -> None:
    tracker = after(*ATTEMPT, Event.HANDSHAKE_FAILED_AUTH, encrypted=encrypted)
    assert (tracker.state, tracker.given_up) == (state, True)
    tracker.handle(Event.CONNECT_DELAYED)
    assert (tracker.state, tracker.given_up) == (state, False)


def test_without_a_tcp_connection_the_peer_is_disconnected() -> None:
    assert after(Event.CONNECT_DELAYED).state is None
    assert after(Event.CONNECT_DELAYED, Event.CONNECT_RETRIED).state is DISCONNECTED
    failed = (*ATTEMPT, Event.HANDSHAKE_FAILED_PROTOCOL)
    assert after(*failed, Event.CONNECT_DELAYED, Event.CONNECT_RETRIED).state is DISCONNECTED


def test_a_connection_that_ends_after_the_handshake_is_disconnected() -> None:
    tracker = after(*ATTEMPT, Event.HANDSHAKE_SUCCEEDED)
    assert (tracker.state, tracker.given_up) == (CONNECTED, False)
    tracker.handle(Event.DISCONNECTED)
    assert (tracker.state, tracker.given_up) == (DISCONNECTED, True)
    tracker.handle(Event.CONNECT_RETRIED)
    assert tracker.given_up is False


@pytest.mark.parametrize("end", [Event.DISCONNECTED, Event.CONNECT_RETRIED])
def test_a_connection_that_ends_without_any_word_of_a_handshake_had_none(end: Event) -> None:
    tracker = after(*ATTEMPT, end)
    assert tracker.state is ConnectionState.NO_HANDSHAKE
    # and without a TCP connection the next attempt tells another reason
    tracker.handle(Event.CONNECT_DELAYED)
    tracker.handle(Event.CONNECT_RETRIED)
    assert tracker.state is DISCONNECTED


def test_a_connection_that_ends_long_after_its_handshake_did_have_one() -> None:
    ended = (*ATTEMPT, Event.HANDSHAKE_SUCCEEDED, Event.DISCONNECTED, Event.CONNECT_RETRIED)
    assert after(*ended).state is DISCONNECTED
