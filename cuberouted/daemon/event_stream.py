"""GET /v1/events: the events that are kept, and those to come, one JSON object a line."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
import trio

from cuberouted.api.http import LINES, Endpoint, HttpError, Parts, Request
from cuberouted.event_ring import EventRing
from cuberouted.events import TYPES, AnyEvent, Event, EventsLost, Level, encode

HEARTBEAT = 15.0
"""Seconds after which a stream on which nothing happens gets an empty line."""

ENCODED = 2 * 500
"""Encoded events that readers share: two batches of `EventRing.after`."""


class EventParameters(msgspec.Struct):
    """Which events.

    ``after``: those with higher numbers; without it, only those to come. If it is higher than the
    number of the newest event, the daemon has restarted, and all that are kept are sent.
    ``follow``: 1 to go on with those to come, 0 to end with the newest. ``level``: those of this
    level and above. ``type``, ``address``, ``client``: only those of this type, about this address
    or network, or this common name. That events were lost is always sent.
    """

    after: Annotated[int, msgspec.Meta(ge=0)] | None = None
    follow: Annotated[int, msgspec.Meta(ge=0, le=1)] = 1
    level: Level = Level.DEBUG
    type: str = ""
    address: str = ""
    client: str = ""

    def matches(self, event: Event) -> bool:
        """Whether *event* is one of them."""
        return isinstance(event, EventsLost) or (
            event.level.severity >= self.level.severity
            and self.type in ("", event.__struct_config__.tag)
            and self.address in ("", getattr(event, "address", None))
            and self.client in ("", getattr(event, "client", None))
        )


def endpoint(events: EventRing) -> Endpoint:
    """GET /v1/events."""
    return Endpoint(
        "GET",
        "/v1/events",
        EventStream(events).handle,
        content_type=LINES,
        stream=True,
        reply=AnyEvent,
        parameters=EventParameters,
        errors={400: "an unknown type of event"},
        summary="The events that are kept, and those to come, one a line.",
    )


class EventStream:
    """Streams *events* to any number of readers. Each event is encoded once for all of them."""

    def __init__(self, events: EventRing) -> None:
        self._events = events
        self._encoded: OrderedDict[int, bytes] = OrderedDict()  # by number

    async def handle(self, request: Request) -> Parts:
        """The handler of GET /v1/events."""
        wanted = request.parameters(EventParameters)
        if wanted.type and wanted.type not in TYPES:
            raise HttpError(400, f"unknown type {wanted.type[:100]}; known are: {', '.join(TYPES)}")
        return self._parts(wanted)

    async def _parts(self, wanted: EventParameters) -> Parts:
        last = self._events.last
        after = last if wanted.after is None else wanted.after if wanted.after <= last else 0
        yield b""  # the head of the reply: the stream has begun
        while True:
            batch = self._events.after(after)
            if batch:
                after = batch[-1].number
                lines = b"".join(self._encode(filter(wanted.matches, batch)))
                if lines:
                    yield lines
                await trio.lowlevel.checkpoint()
            elif not wanted.follow:
                return
            else:
                with trio.move_on_after(HEARTBEAT) as quiet:
                    await self._events.wait()
                if quiet.cancelled_caught:
                    yield b"\n"

    def _encode(self, events: Iterable[Event]) -> Iterator[bytes]:
        for event in events:
            # what a reader has lost differs from reader to reader
            line = None if isinstance(event, EventsLost) else self._encoded.get(event.number)
            if line is None:
                line = encode(event)
                if not isinstance(event, EventsLost):
                    self._encoded[event.number] = line
            yield line
        while len(self._encoded) > ENCODED:
            self._encoded.popitem(last=False)
