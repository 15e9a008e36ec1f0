"""The stream of events: numbers, what is kept, and slow readers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import trio
from trio.testing import wait_all_tasks_blocked

from cuberouted.event_ring import EventRing
from cuberouted.events import Event, EventsLost, Reloaded, ReloadRefused


def ring(kept: int = 10) -> EventRing:
    return EventRing("vpnsrvA", kept, lambda: 1_700_000_000.5)


def publish(events: EventRing, count: int) -> None:
    for number in range(count):
        events.publish(Reloaded(path=f"/{number + 1}"))


def numbers(found: Sequence[Event]) -> list[int]:
    return [event.number for event in found]


def test_an_event_gets_number_time_and_node():
    events = ring()
    seen: list[Event] = []
    events.listeners.append(seen.append)
    publish(events, 2)
    assert events.after(0) == seen
    assert (seen[1].number, seen[1].node, str(seen[1])) == (2, "vpnsrvA", "/2: reloaded")
    assert seen[1].time == dt.datetime(2023, 11, 14, 22, 13, 20, 500_000, dt.UTC)


def test_a_late_reader_gets_what_is_kept_and_learns_how_many_it_has_lost():
    events = ring(kept=3)
    publish(events, 8)
    lost, *rest = events.after(0)
    assert isinstance(lost, EventsLost)
    assert (lost.count, lost.number) == (5, 5)
    assert str(lost) == "5 events lost: the reader was too slow"
    assert numbers(rest) == [6, 7, 8]
    assert numbers(events.after(5)) == [6, 7, 8]  # nothing of it is lost
    assert events.lost == 5
    assert numbers(events.after(7)) == [8]
    assert events.after(8) == events.after(99) == []


def test_a_batch_is_limited_and_the_next_one_goes_on_behind_it():
    events = ring(kept=10)
    publish(events, 9)
    assert numbers(events.after(0, limit=4)) == [1, 2, 3, 4]
    assert numbers(events.after(4, limit=4)) == [5, 6, 7, 8]
    assert numbers(events.after(8, limit=4)) == [9]


def test_fewer_events_are_kept_after_a_change_of_the_number():
    events = ring(kept=10)
    publish(events, 5)
    events.resize(2)
    assert [type(e) for e in events.after(0)] == [EventsLost, Reloaded, Reloaded]


async def test_a_reader_is_woken_by_the_next_event(nursery, autojump_clock):
    events = ring()
    seen: list[Sequence[Event]] = []

    async def read() -> None:
        await events.wait()
        seen.append(events.after(0))

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert seen == []
    publish(events, 2)
    await wait_all_tasks_blocked()
    assert [numbers(found) for found in seen] == [[1, 2]]


def test_the_newest_event_of_a_kind_is_found_among_those_that_are_kept():
    events = ring(kept=3)
    events.publish(ReloadRefused(why="first"))
    publish(events, 2)
    found = events.newest(Reloaded, lambda event: event.path == "/1")
    assert found is not None
    assert found.number == 2
    publish(events, 1)
    assert events.newest(Reloaded, lambda event: event.path == "/1") is not found
    assert events.newest(ReloadRefused, lambda _: True) is None


async def test_a_closed_ring_is_not_waited_for(nursery, autojump_clock):
    events = ring()
    nursery.start_soon(events.wait)
    await wait_all_tasks_blocked()
    assert len(nursery.child_tasks) == 1
    events.close()
    assert events.is_closed
    with trio.fail_after(1):
        await events.wait()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


def test_the_oldest_event_that_is_kept():
    events = ring(kept=3)
    assert events.oldest == 1
    publish(events, 3)
    assert events.oldest == 1
    publish(events, 3)
    assert (events.oldest, events.last) == (4, 6)
