"""GET /v1/events: the events that are kept, and those to come, one JSON object a line.
GET /events of the web listener: the same as server-sent events, for browsers.

A reader takes from the ring at its own speed, so that a slow one delays nobody; what the ring no
longer keeps by then is lost to it, and it is told how many.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs
import trio

from cuberouted.api.http import LINES, Endpoint, Parts, Request
from cuberouted.daemon.event_filter import EventParameters
from cuberouted.event_ring import BATCH, EventRing
from cuberouted.events import AnyEvent, Event, EventsLost, encode

HEARTBEAT = 15.0
"""Seconds after which a stream on which nothing happens gets an empty line or a comment."""

PAUSE = 0.02
"""Seconds between two parts for a reader that keeps up. Events that come meanwhile are one part:
else ten readers would be woken for each of 10,000 events a second."""

ENCODED = 2 * BATCH
"""Encoded events that readers share: two batches of `EventRing.after`."""


@attrs.frozen
class Framing:
    """How a stream is written: what it begins with, each event, and what shows that it lives.

    ``before``: what precedes the JSON and its newline, with ``%d`` for the event's number.
    """

    head: bytes = b""
    before: bytes = b""
    after: bytes = b""
    heartbeat: bytes = b"\n"


LINE_BY_LINE: Final = Framing()

SERVER_SENT: Final = Framing(
    b": the events to come\nretry: 2000\n\n", b"id: %d\ndata: ", b"\n", b":\n\n"
)
"""As the HTML standard has it, in "Server-sent events". The number after "retry" is milliseconds
until a browser connects again."""


Shown = Callable[[Event], Event | None]
"""Returns an event as readers get it, or None if they do not."""


def as_it_is(event: Event) -> Event:
    """*event* itself."""
    return event


def endpoint(events: EventRing, shown: Shown = as_it_is) -> Endpoint:
    """GET /v1/events, of the events as *shown*."""
    return Endpoint(
        "GET",
        "/v1/events",
        EventStream(events, shown=shown).handle,
        content_type=LINES,
        stream=True,
        reply=AnyEvent,
        parameters=EventParameters,
        errors={400: "an invalid parameter"},
        summary="The events that are kept, and those to come, one a line; an empty line every 15"
        " seconds if nothing happens.",
    )


def server_sent_endpoint(events: EventRing, shown: Shown = as_it_is) -> Endpoint:
    """GET /events, of the events as *shown*: to come only, unless `EventParameters.after` says
    otherwise.

    The header Last-Event-ID is ignored: a page that has lost its connection needs a new snapshot
    anyway.
    """
    return Endpoint(
        "GET",
        "/events",
        EventStream(events, SERVER_SENT, shown).handle,
        content_type="text/event-stream",
        stream=True,
        headers=(("X-Accel-Buffering", "no"),),  # or nginx would hold events back
        parameters=EventParameters,
    )


class EventStream:
    """Streams *events* to any number of readers. Each event is encoded once for all of them."""

    def __init__(
        self, events: EventRing, framing: Framing = LINE_BY_LINE, shown: Shown = as_it_is
    ) -> None:
        self._events = events
        self._shown = shown
        self._framing = framing
        self._encoded: OrderedDict[int, bytes] = OrderedDict()  # by number

    async def handle(self, request: Request) -> Parts:
        """The handler of the endpoint."""
        wanted = request.parameters(EventParameters)
        wanted.check()
        return self._parts(wanted)

    async def _parts(self, wanted: EventParameters) -> Parts:
        ring = self._events
        number = self._begin(wanted)
        end = math.inf if wanted.follow else ring.last
        yield self._framing.head  # and with it the head of the reply: the stream has begun
        sent_at = trio.current_time()
        while number < end:
            batch = ring.after(number)
            encoded = b"".join(
                self._encode(e for e in batch if e.number <= end and wanted.matches(e))
            )
            if encoded or trio.current_time() >= sent_at + HEARTBEAT:
                yield encoded or self._framing.heartbeat
                sent_at = trio.current_time()
            if len(batch) >= BATCH:
                number = batch[-1].number
                await trio.lowlevel.checkpoint()
            elif batch:
                number = batch[-1].number
                await trio.sleep(PAUSE)
            elif ring.is_closed:
                return
            else:
                with trio.move_on_at(sent_at + HEARTBEAT):
                    await ring.wait()

    def _begin(self, wanted: EventParameters) -> int:
        """The number after which *wanted* begins."""
        last = self._events.last
        after = wanted.after
        if after is None:
            after = last if wanted.follow else 0
        # a new reader, or one of the run before, has lost nothing that it could know of
        return after if 0 < after <= last else self._events.oldest - 1

    def _encode(self, events: Iterable[Event]) -> Iterator[bytes]:
        for event in events:
            # what a reader has lost differs from reader to reader
            encoded = None if isinstance(event, EventsLost) else self._encoded.get(event.number)
            if encoded is None:
                shown = self._shown(event)
                if shown is None:
                    continue
                encoded = self._framed(shown)
                if not isinstance(event, EventsLost):
                    self._encoded[event.number] = encoded
            yield encoded
        while len(self._encoded) > ENCODED:
            self._encoded.popitem(last=False)

    def _framed(self, event: Event) -> bytes:
        framing = self._framing
        before = framing.before % event.number if framing.before else b""
        # JSON has no raw newline, which would end a server-sent event
        return before + encode(event) + framing.after
