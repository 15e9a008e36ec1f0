from __future__ import annotations

from cuberouted.peering.zmq.zap import MAX_TOPICS, SubscriptionLimit


def topics(first: int, count: int) -> list[bytes]:
    return [b"\x01s/%016d" % number for number in range(first, first + count)]


def test_a_peer_may_subscribe_to_a_limited_number_of_topics():
    limit = SubscriptionLimit()
    assert not any(limit.add(frame, "b") for frame in topics(0, MAX_TOPICS))
    assert not limit.add(topics(0, 1)[0], "b")
    assert limit.add(b"\x01one more", "b")
    assert not limit.add(b"\x01u", "c")


def test_unsubscribed_topics_do_not_count():
    limit = SubscriptionLimit()
    for number, frame in enumerate(topics(0, 10 * MAX_TOPICS)):
        assert not limit.add(frame, "b")
        limit.add(b"\x00" + frame[1:], "b" if number % 2 else None)


def test_a_peer_whose_connections_were_closed_starts_anew():
    limit = SubscriptionLimit()
    for frame in topics(0, MAX_TOPICS + 1):
        limit.add(frame, "b")
    limit.forget("b")
    assert not any(limit.add(frame, "b") for frame in topics(0, MAX_TOPICS))


def test_frames_without_a_peer_and_malformed_frames_do_not_count():
    limit = SubscriptionLimit()
    for frame in (b"", b"\x02", b"\x00", *topics(0, 2 * MAX_TOPICS)):
        assert not limit.add(frame, None)
