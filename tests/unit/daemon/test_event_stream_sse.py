"""GET /events: the events to come, as server-sent events."""

from __future__ import annotations

import json
from contextlib import aclosing

import pytest
import trio
import trio.testing

from cuberouted import events
from cuberouted.api.http import Endpoints, HttpError
from cuberouted.api.http_server import STREAM_TIMEOUT, HttpServer
from cuberouted.daemon.event_stream import HEARTBEAT, server_sent_endpoint
from cuberouted.event_ring import BATCH, EventRing
from cuberouted.events import AnyEvent, ClientJoined, EventsLost, NodeProblem
from tests.fakes.api import ROOT

KEPT = 1000
REQUEST = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"


def parse(stream: str) -> list[tuple[str, AnyEvent]]:
    """Ids and events, as the HTML standard interprets a stream."""
    found: list[tuple[str, AnyEvent]] = []
    for block in stream.split("\n\n"):
        fields: dict[str, str] = {}
        for line in filter(None, block.split("\n")):
            name, _, value = line.partition(":")
            assert name not in fields, block
            fields[name] = value.removeprefix(" ")
        if "data" in fields:
            assert fields.keys() == {"id", "data"}
            found.append((fields["id"], events.decode(fields["data"].encode())))
    return found


@pytest.fixture
def ring():
    return EventRing("vpnsrvA", KEPT, lambda: 0.0)


@pytest.fixture
def stream(ring):
    return server_sent_endpoint(ring)


async def parts(stream, target="/events"):
    endpoint, request = Endpoints([stream]).find("GET", target, b"", ROOT)
    return aclosing(await endpoint.handler(request))


def problem(why="out of memory"):
    return NodeProblem(what="kernel", why=why)


async def test_only_what_is_to_come_each_with_its_number(ring, stream, autojump_clock):
    ring.publish(problem())
    async with await parts(stream) as received:
        assert await anext(received) == b": the events to come\nretry: 2000\n\n"
        ring.publish(problem())
        ring.publish(problem())
        found = parse((await anext(received)).decode())
    assert [number for number, _ in found] == ["2", "3"]
    assert [event.number for _, event in found] == [2, 3]


@pytest.mark.parametrize("why", ["two\nlines", "\r\n\r\ndata: {}\n\n", "\u2028\x85\x00", "ä"])
async def test_an_event_is_one_line_whatever_is_in_it(ring, stream, autojump_clock, why):
    async with await parts(stream) as received:
        await anext(received)
        ring.publish(problem(why))
        text = (await anext(received)).decode()
    assert text.count("\n") == 3
    assert "\r" not in text
    ((_, event),) = parse(text)
    assert event == events.NodeProblem(
        what="kernel", why=why, number=1, time=event.time, node="vpnsrvA"
    )


async def test_the_data_is_the_line_of_the_other_stream(ring, stream, autojump_clock):
    async with await parts(stream) as received:
        await anext(received)
        ring.publish(ClientJoined(client="host1", address="10.9.0.1", to_node="vpnsrvB"))
        data = (await anext(received)).decode().partition("data: ")[2]
    assert json.loads(data)["text"] == "host1 (10.9.0.1) joined at vpnsrvB"
    (event,) = ring.after(0)
    assert data == events.encode(event).decode() + "\n"


async def test_a_quiet_stream_has_comments(stream, autojump_clock):
    async with await parts(stream) as received:
        await anext(received)
        for number in range(1, 4):
            assert await anext(received) == b":\n\n"
            assert trio.current_time() == pytest.approx(number * HEARTBEAT)


async def test_a_slow_reader_learns_what_it_has_lost(ring, stream, autojump_clock):
    async with await parts(stream) as received:
        await anext(received)
        for _ in range(KEPT + 30):
            ring.publish(problem())
        (number, lost), *rest = parse((await anext(received)).decode())
    assert isinstance(lost, EventsLost)
    assert (number, lost.count) == ("30", 30)
    assert len(rest) == BATCH


async def test_events_can_be_selected(ring, stream, autojump_clock):
    async with await parts(stream, "/events?level=warning&type=node_problem") as received:
        await anext(received)
        ring.publish(ClientJoined(client="host1", address="10.9.0.1", to_node="vpnsrvB"))
        ring.publish(problem())
        assert [number for number, _ in parse((await anext(received)).decode())] == ["2"]
    with pytest.raises(HttpError, match="unknown type x"):
        await parts(stream, "/events?type=x")


async def test_readers_share_what_is_encoded(ring, stream, monkeypatch, autojump_clock):
    encoded: list[int] = []

    def encode(event: events.Event) -> bytes:
        encoded.append(event.number)
        return events.encode(event)

    monkeypatch.setattr("cuberouted.daemon.event_stream.encode", encode)
    async with await parts(stream) as one, await parts(stream) as other:
        await anext(one)
        await anext(other)
        ring.publish(problem())
        assert await anext(one) == await anext(other)
    assert encoded == [1]


# -- over HTTP --


@pytest.fixture
def http(stream, ring):
    return HttpServer([stream], ring.publish, "web_listen")


async def receive_until(stream, end):
    received = b""
    while not received.endswith(end):
        data = await stream.receive_some()
        assert data, received
        received += data
    return received


async def test_over_http_from_the_first_byte_to_the_end_of_the_daemon(
    ring, http, nursery, autojump_clock
):
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(http.handle, theirs, ROOT)
    await ours.send_all(REQUEST.replace(b"\r\n\r\n", b"\r\nLast-Event-ID: 1\r\n\r\n"))
    with trio.fail_after(1):  # at once, so that the browser knows that it is connected
        head, _, body = (await receive_until(ours, b"2000\n\n\r\n")).decode().partition("\r\n\r\n")
    lines = head.lower().splitlines()
    assert lines[0] == "http/1.1 200 ok"
    assert "content-type: text/event-stream" in lines
    assert "x-accel-buffering: no" in lines
    assert "cache-control: no-store" in lines
    assert body.endswith("retry: 2000\n\n\r\n")
    ring.publish(problem())
    assert b"id: 1\ndata: " in await receive_until(ours, b"}\n\n\r\n")
    ring.publish(problem())
    ring.close()
    assert b"id: 2\ndata: " in await receive_until(ours, b"\r\n0\r\n\r\n")
    with trio.fail_after(1):
        await http.wait_idle()


async def test_a_reader_that_does_not_read_is_cut_off(ring, http, nursery, autojump_clock):
    ours, theirs = trio.testing.lockstep_stream_pair()  # holds nothing: a full socket
    nursery.start_soon(http.handle, theirs, ROOT)
    await ours.send_all(REQUEST)
    await ours.receive_some()
    for _ in range(9):
        ring.publish(problem())
        await trio.sleep(STREAM_TIMEOUT / 10)
    assert http.limits.streams == 1
    await trio.sleep(STREAM_TIMEOUT / 10 + 1)
    assert http.limits.streams == 0
