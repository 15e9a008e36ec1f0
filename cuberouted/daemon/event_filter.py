"""Which events a reader of the API wants: the parameters of GET /v1/events. Pure."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from cuberouted.api.http import HttpError
from cuberouted.events import TYPES, Event, EventsLost, Level
from cuberouted.model import Prefix


class EventParameters(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Which events. That some were lost is always told."""

    after: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="Only events with a higher number. 0, or a number that this daemon has not"
            " reached because it was restarted: all that are kept. Without it: only those to come,"
            " or with follow=0 all that are kept."
        ),
    ] = None
    follow: Annotated[
        int,
        Meta(
            ge=0,
            le=1,
            description="1: the stream goes on with those to come; 0: it ends with the newest.",
        ),
    ] = 1
    level: Annotated[Level, Meta(description="Only events of this level and above.")] = Level.DEBUG
    type: Annotated[
        str, Meta(description="Only events of this type, or of several with commas between them.")
    ] = ""
    address: Annotated[
        str,
        Meta(
            description="Only events about this address or network, networks around it, and"
            " addresses in it."
        ),
    ] = ""
    client: Annotated[str, Meta(description="Only events about the client of this name.")] = ""

    def check(self) -> None:
        """Raise HttpError if a value is invalid."""
        unknown = self._types - set(TYPES)
        if self.type and unknown:
            name = min(unknown)[:100]
            raise HttpError(400, f"unknown type {name}; known are: {', '.join(TYPES)}")
        if self.address and self._prefix is None:
            raise HttpError(400, f"address {self.address[:100]} is no address and no network")

    def matches(self, event: Event) -> bool:
        """Whether *event* is one of them."""
        return isinstance(event, EventsLost) or (
            event.level.severity >= self.level.severity
            and (not self.type or event.__struct_config__.tag in self._types)
            and (not self.client or self._is_about_client(event))
            and (self._prefix is None or self._is_about_prefix(event, self._prefix))
        )

    @cached_property
    def _types(self) -> frozenset[str]:
        return frozenset(self.type.split(","))

    @cached_property
    def _prefix(self) -> Prefix | None:
        return _prefix(self.address)

    def _is_about_client(self, event: Event) -> bool:
        # an event about two clients has the other one in a field of its own
        return self.client in (getattr(event, "client", ""), getattr(event, "other_client", ""))

    def _is_about_prefix(self, event: Event, prefix: Prefix) -> bool:
        found = _prefix(getattr(event, "address", ""))
        return found is not None and (_contains(found, prefix) or _contains(prefix, found))


@lru_cache(maxsize=4096)
def _prefix(text: str) -> Prefix | None:
    try:
        return Prefix.parse(text)
    except ValueError:
        return None


def _contains(wide: Prefix, narrow: Prefix) -> bool:
    if len(wide.address) != len(narrow.address) or wide.length > narrow.length:
        return False
    shift = 8 * len(wide.address) - wide.length
    return int.from_bytes(wide.address) >> shift == int.from_bytes(narrow.address) >> shift
