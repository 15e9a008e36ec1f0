from __future__ import annotations

from cuberouted.peering.zmq.zap import MAX_TOPICS, SubscriptionLimit


def topics(first: int, count: int) -> list[bytes]:
    return [b"\x01s/%016d" % number for number in range(first, first + count)]


def test_a_peer_may_hold_some_topics_and_no_more():
    standing = SubscriptionLimit()
    assert not any(standing.heard(frame, "b") for frame in topics(0, MAX_TOPICS))
    assert not standing.heard(topics(0, 1)[0], "b")
    assert standing.heard(b"\x01one more", "b")
    assert not standing.heard(b"\x01u", "c")


def test_topics_that_are_given_back_do_not_count():
    standing = SubscriptionLimit()
    for number, frame in enumerate(topics(0, 10 * MAX_TOPICS)):
        assert not standing.heard(frame, "b")
        standing.heard(b"\x00" + frame[1:], "b" if number % 2 else None)


def test_who_has_lost_its_connections_starts_afresh():
    standing = SubscriptionLimit()
    for frame in topics(0, MAX_TOPICS + 1):
        standing.heard(frame, "b")
    standing.forget("b")
    assert not any(standing.heard(frame, "b") for frame in topics(0, MAX_TOPICS))


def test_what_nobody_vouches_for_or_is_nonsense_holds_nothing():
    standing = SubscriptionLimit()
    for frame in (b"", b"\x02", b"\x00", *topics(0, 2 * MAX_TOPICS)):
        assert not standing.heard(frame, None)
