"""GET /v1/events over connections, and the limits of its readers."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from cuberouted.api.http import HttpError
from cuberouted.api.http_server import STREAM_TIMEOUT, HttpServer
from cuberouted.api.limits import MAX_STREAMS
from cuberouted.daemon.event_stream import HEARTBEAT, endpoint
from cuberouted.event_ring import BATCH, EventRing
from cuberouted.events import (
    ClientJoined,
    ClientLeft,
    EventsLost,
    NodeProblem,
    PoolConflictBegan,
    RouteChanged,
    RouteTrace,
    decode,
)
from tests.fakes.api import ROOT, call

KEPT = 2000


@pytest.fixture
def ring():
    return EventRing("A", KEPT, lambda: 1_795_262_400.0)


@pytest.fixture
def stream(ring):
    return endpoint(ring)


def publish(ring, count=1):
    for number in range(count):
        ring.publish(NodeProblem(what="kernel", why=f"number {number}"))


async def kept(stream, query=""):
    received = await call([stream], "GET", f"/v1/events?follow=0&{query}")
    return [decode(line) for line in received.splitlines()]


async def numbers(stream, query=""):
    return [event.number for event in await kept(stream, query)]


async def test_a_reader_that_was_away_for_too_long_has_lost_events(ring, stream):
    publish(ring, KEPT + 10)
    lost, *rest = await kept(stream, "after=5")
    assert lost == EventsLost(count=5, number=10, time=rest[0].time, node="A")
    assert [event.number for event in rest] == list(range(11, KEPT + 11))
    assert await numbers(stream) == list(range(11, KEPT + 11))  # a new reader has lost nothing


@pytest.mark.parametrize(
    "query",
    [
        *("after=-1", "after=x", "follow=2", "level=loud", "since=1"),
        *("type=nosuch", "type=client_left,", "address=host2", "address=10.9.0.0/33"),
    ],
)
async def test_a_wrong_parameter_is_refused(stream, query):
    with pytest.raises(HttpError) as caught:
        await call([stream], "GET", f"/v1/events?{query}")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("level=debug", [1, 2, 3, 4, 5, 6]),
        ("level=info", [1, 2, 3, 5, 6]),
        ("level=warning", [5, 6]),
        ("level=error", []),
        ("client=host1", [1, 3, 5]),
        ("client=host2", [2, 5]),
        ("address=10.9.0.1", [1, 3, 4, 5]),
        ("address=10.9.0.0/24", [1, 3, 4, 5]),
        ("address=10.9.0.2", [4]),
        ("address=fd00::5", [2]),
        ("address=fd00::/64", [2]),
        ("address=10.9.0.0%2F30", [1, 3, 4, 5]),
        ("type=client_joined", [1, 2]),
        ("type=client_joined,client_left", [1, 2, 3]),
        ("type=client_joined&client=host1", [1]),
    ],
)
async def test_filters(ring, stream, query, expected):
    ring.publish(ClientJoined(address="10.9.0.1", client="host1", to_node="A"))
    ring.publish(ClientJoined(address="fd00::5", client="host2", to_node="A"))
    ring.publish(ClientLeft(address="10.9.0.1", client="host1", from_node="A"))
    ring.publish(RouteChanged(address="10.9.0.0/24", trace=RouteTrace.ADDED))
    ring.publish(
        PoolConflictBegan(
            address="10.9.0.1", client="host1", other_client="host2", to_node="A", other_node="B"
        )
    )
    publish(ring)
    assert await numbers(stream, query) == expected


async def test_a_filter_does_not_hide_that_events_are_lost(ring, stream):
    publish(ring, KEPT + 10)
    assert [type(event) for event in await kept(stream, "after=5&client=x")] == [EventsLost]


# -- over HTTP --


class Reader:
    """A client that reads the stream from a connection in memory."""

    def __init__(self, server, nursery, target="/v1/events?after=0"):
        self.stream, theirs = trio.testing.memory_stream_pair()
        self._received = b""
        self.ended = trio.Event()
        nursery.start_soon(self._serve, server, theirs)
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        nursery.start_soon(self.stream.send_all, request.encode())

    async def _serve(self, server, stream):
        async with stream:
            await server.handle(stream, ROOT)
        self.ended.set()

    async def chunk(self):
        """The next chunk's bytes; None at the orderly end."""
        while self._received.startswith(b"HTTP") or b"\r\n" not in self._received:
            data = await self.stream.receive_some()
            assert data, "no orderly end"
            self._received += data
            if self._received.startswith(b"HTTP") and b"\r\n\r\n" in self._received:
                self._received = self._received.partition(b"\r\n\r\n")[2]
        size, _, rest = self._received.partition(b"\r\n")
        while len(rest) < int(size, 16) + 2:
            rest += await self.stream.receive_some()
        self._received = rest[int(size, 16) + 2 :]
        return rest[: int(size, 16)] or None

    async def numbers(self, count):
        found: list[int] = []
        while len(found) < count:
            found += [decode(line).number for line in (await self.chunk()).splitlines()]
        return found


@pytest.fixture
def http(stream, ring):
    return HttpServer([stream], ring.publish, "control socket")


async def test_a_reader_gets_events_as_they_come(ring, http, nursery, autojump_clock):
    publish(ring, 2)
    reader = Reader(http, nursery)
    assert await reader.numbers(2) == [1, 2]
    for number in range(3, 10):
        await trio.sleep(1)
        publish(ring)
        began = trio.current_time()
        assert await reader.numbers(1) == [number]
        assert trio.current_time() == began


async def test_events_that_come_quickly_are_sent_together(ring, http, nursery, autojump_clock):
    reader = Reader(http, nursery)
    await trio.testing.wait_all_tasks_blocked()
    publish(ring)
    assert len((await reader.chunk()).splitlines()) == 1
    for _ in range(10):
        publish(ring)
        await trio.sleep(0.001)
    assert len((await reader.chunk()).splitlines()) == 10


@pytest.mark.parametrize("filtered", [False, True])
async def test_without_events_there_is_a_heartbeat(ring, http, nursery, autojump_clock, filtered):
    reader = Reader(http, nursery, "/v1/events?level=error" if filtered else "/v1/events?after=0")
    began = trio.current_time()

    async def others():
        while True:
            await trio.sleep(1)
            publish(ring)

    if filtered:
        nursery.start_soon(others)
    for number in range(1, 4):
        assert await reader.chunk() == b"\n"
        assert trio.current_time() - began == pytest.approx(number * HEARTBEAT, abs=number * 1.1)


async def test_at_the_end_of_the_daemon_a_stream_ends_in_an_orderly_way(
    ring, http, nursery, autojump_clock
):
    readers = [Reader(http, nursery) for _ in range(MAX_STREAMS)]
    publish(ring)
    for reader in readers:
        assert await reader.numbers(1) == [1]
    publish(ring)
    ring.close()
    for reader in readers:
        assert await reader.numbers(1) == [2]
        assert await reader.chunk() is None
    with trio.fail_after(1):
        await http.wait_idle()


async def test_a_reader_that_does_not_read_delays_nobody_and_is_cut_off(
    ring, http, nursery, autojump_clock
):
    ours, theirs = trio.testing.lockstep_stream_pair()  # holds nothing: a full socket

    async def stopped():
        async with theirs:
            await http.handle(theirs, ROOT)

    nursery.start_soon(stopped)
    await ours.send_all(b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
    reader = Reader(http, nursery)
    began, count = trio.current_time(), 0
    while trio.current_time() < began + STREAM_TIMEOUT - 1:
        publish(ring, 100)  # neither waits nor raises
        count += 100
        await trio.sleep(0.1)
    assert await reader.numbers(count) == list(range(1, count + 1))
    assert http.limits.streams == 2
    await trio.sleep(2)
    assert http.limits.streams == 1


async def test_a_slow_reader_is_told_how_many_events_it_has_lost(ring, http, nursery, mock_clock):
    ours, theirs = trio.testing.lockstep_stream_pair()
    nursery.start_soon(http.handle, theirs, ROOT)
    await ours.send_all(b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
    received = await ours.receive_some()
    publish(ring, BATCH)
    await trio.testing.wait_all_tasks_blocked()
    publish(ring, 2 * KEPT)
    while b'"number":%d,' % (BATCH + 2 * KEPT) not in received:
        received += await ours.receive_some()
        mock_clock.jump(1)
    assert b'"type":"events_lost"' in received
    assert f'"text":"{KEPT} events lost: the reader was too slow"'.encode() in received
