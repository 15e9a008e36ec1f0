"""GET /v1/events: what is kept, what is to come, filters, slow readers."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from cuberouted import events
from cuberouted.api.http import HttpError, Request
from cuberouted.daemon.event_filter import EventParameters
from cuberouted.daemon.event_stream import ENCODED, HEARTBEAT, EventStream
from cuberouted.event_ring import EventRing
from cuberouted.events import ClientJoined, EventsLost, NodeProblem, RouteChanged, RouteTrace


def joined(client: str, address: str) -> ClientJoined:
    return ClientJoined(client=client, address=address, to_node="vpnsrvB")


class Scene:
    """A ring and its stream."""

    def __init__(self, kept: int = 10_000) -> None:
        self.ring = EventRing("vpnsrvA", kept, lambda: 0.0)
        self.stream = EventStream(self.ring)

    def parts(self, **query: str):
        return self.stream.handle(Request("GET", query=query))

    async def kept(self, **query: str) -> list[Any]:
        """The events of a stream that ends."""
        async with aclosing(await self.parts(follow="0", **query)) as parts:
            received = b"".join([part async for part in parts])
        return [events.decode(line) for line in received.splitlines()]


@pytest.fixture
def scene():
    return Scene()


async def test_the_kept_events_in_order_and_then_the_end(scene):
    for number in range(1200):
        scene.ring.publish(joined(f"host{number}", "10.100.100.1"))
    found = await scene.kept(after="0")
    assert [event.number for event in found] == list(range(1, 1201))
    assert [event.number for event in await scene.kept(after="1198")] == [1199, 1200]


async def test_without_a_number_only_those_to_come(scene, nursery, autojump_clock):
    scene.ring.publish(joined("host1", "10.100.100.1"))
    received: list[bytes] = []

    async def read() -> None:
        async with aclosing(await scene.parts()) as parts:
            async for part in parts:
                received.append(part)  # noqa: PERF401 - it does not end

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert received == [b""]  # the reply begins at once
    scene.ring.publish(joined("host2", "10.100.100.2"))
    await wait_all_tasks_blocked()
    assert events.decode(received[1]).number == 2
    nursery.cancel_scope.cancel()


async def test_a_reader_of_the_run_before_gets_everything(scene):
    scene.ring.publish(joined("host1", "10.100.100.1"))
    assert [event.number for event in await scene.kept(after="5000")] == [1]


async def test_a_quiet_stream_has_a_heartbeat(scene, autojump_clock):
    async with aclosing(await scene.parts()) as parts:
        assert await anext(parts) == b""
        assert [await anext(parts) for _ in range(3)] == [b"\n"] * 3
    assert HEARTBEAT < 30


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"level": "info"}, [1, 2, 4]),
        ({"level": "warning"}, [4]),
        ({"type": "client_joined"}, [1, 2]),
        ({"address": "10.100.100.2"}, [2, 3]),
        ({"client": "host1"}, [1]),
        ({"client": "host1", "address": "10.100.100.2"}, []),
        ({}, [1, 2, 3, 4]),
    ],
)
async def test_filters(scene, query, numbers):
    scene.ring.publish(joined("host1", "10.100.100.1"))
    scene.ring.publish(joined("host2", "10.100.100.2"))
    scene.ring.publish(RouteChanged(address="10.100.100.2", trace=RouteTrace.ADDED))
    scene.ring.publish(NodeProblem(what="kernel", why="out of memory"))
    assert [event.number for event in await scene.kept(after="0", **query)] == numbers


async def test_an_unknown_type_is_refused_with_the_known_ones(scene):
    with pytest.raises(HttpError, match="unknown type client_gone; known are: client_joined,"):
        await scene.parts(type="client_gone")


async def test_a_slow_reader_learns_what_it_has_lost_whatever_it_filters(autojump_clock):
    scene = Scene(kept=10)
    async with aclosing(await scene.parts(after="0", type="node_started")) as parts:
        await anext(parts)
        for number in range(30):
            scene.ring.publish(joined(f"host{number}", "10.100.100.1"))
        (line,) = (await anext(parts)).splitlines()
    lost = events.decode(line)
    assert isinstance(lost, EventsLost)
    assert lost.count == 20


async def test_readers_share_what_is_encoded_and_it_is_bounded(scene, monkeypatch):
    encoded: list[int] = []

    def encode(event: events.Event) -> bytes:
        encoded.append(event.number)
        return events.encode(event)

    monkeypatch.setattr("cuberouted.daemon.event_stream.encode", encode)
    for number in range(ENCODED // 2):
        scene.ring.publish(joined(f"host{number}", "10.100.100.1"))
    first, second = await scene.kept(after="0"), await scene.kept(after="0")
    assert first == second
    assert encoded == list(range(1, ENCODED // 2 + 1))
    for number in range(3 * ENCODED):
        scene.ring.publish(joined(f"host{number}", "10.100.100.1"))
    await scene.kept(after="0")
    assert len(scene.stream._encoded) <= ENCODED


def test_every_event_can_be_filtered():
    for level in events.Level:
        assert EventParameters(level=level).matches(EventsLost(count=1))
