"""Derives the events of clients from the best routes: joined, moved, reconnected, left. Pure.

`ClientTracker.receive` is given the best route of a prefix at each change, `timer` the time. A
client that roams disconnects at one node and connects at another, in either order. So a
departure is held back for GRACE seconds, in the events only: what follows within it makes one
event of the two.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import inf
from typing import NamedTuple, TypedDict

import attrs

from cuberouted.events import ClientJoined, ClientLeft, ClientMoved, ClientRenewed, Event
from cuberouted.model import Advertisement, Kind, Prefix, printable_name
from cuberouted.routing.rib import ADOPTED_VERSION, RibRoute

GRACE = 2.0
"""Seconds for which a departure is held back. A clean roam takes well below one."""

FOUND_AGE = 10.0
"""Seconds. A session that is older when we first learn of it was found: nobody connected now."""


class _Departure(NamedTuple):
    deadline: float
    why: str


@attrs.define
class ClientTracker:
    """Where each client was, as the events have said it so far."""

    _known: dict[Prefix, RibRoute] = attrs.field(factory=dict, init=False)
    _departures: OrderedDict[Prefix, _Departure] = attrs.field(  # oldest first
        factory=OrderedDict, init=False
    )

    @property
    def deadline(self) -> float:
        """When `timer` has something to do (monotonic seconds), or infinity."""
        first = next(iter(self._departures.values()), None)
        return inf if first is None else first.deadline

    def receive(
        self,
        prefix: Prefix,
        best: RibRoute | None,
        now: float,
        *,
        wall_clock: float = 0.0,
        routed_after: float | None = None,
        why: str = "",
    ) -> Iterator[Event]:
        """The best route of *prefix* is *best* now. Yield what has happened to its client.

        *wall_clock*: Unix seconds. *routed_after*: see `events.ClientJoined`. *why*: why clients
        leave, if they do not by themselves.
        """
        known = self._known.get(prefix)
        if best is None or not _is_client(best):
            if known is not None and prefix not in self._departures:
                self._departures[prefix] = _Departure(now + GRACE, why)
            return
        if known is best:
            return
        departed = self._departures.pop(prefix, None)
        self._known[prefix] = best
        old, new = known and known.advertisement, best.advertisement
        if known is not None and old is not None and old.name != new.name:
            yield _left(known, departed.why if departed else "")
            known = None
        if known is None:
            yield ClientJoined(
                **_subject(new),
                to_node=best.node,
                since=new.since,
                found=0 < new.since < wall_clock - FOUND_AGE,
                routed_after=routed_after,
            )
        elif known.node != best.node:
            yield ClientMoved(
                **_subject(new),
                from_node=known.node,
                to_node=best.node,
                since=new.since,
                routed_after=routed_after,
            )
        elif old is not None and new.version > old.version:
            # a restarted daemon advertises its old sessions with versions that are not higher
            yield ClientRenewed(**_subject(new), to_node=best.node, since=new.since)

    def timer(self, now: float, limit: int) -> list[Event]:
        """The clients that have left at *now*, *limit* of them at most."""
        left: list[Event] = []
        while self._departures and len(left) < limit:
            prefix, departure = next(iter(self._departures.items()))
            if departure.deadline > now:
                break
            del self._departures[prefix]
            left.append(_left(self._known.pop(prefix), departure.why))
        return left


def _is_client(route: RibRoute) -> bool:
    # an adopted route does not say which client it is for
    advertisement = route.advertisement
    is_client = advertisement.kind in (Kind.CLIENT, Kind.NETWORK)
    return is_client and advertisement.version != ADOPTED_VERSION


def _left(route: RibRoute, why: str) -> ClientLeft:
    return ClientLeft(**_subject(route.advertisement), from_node=route.node, why=why)


class _Subject(TypedDict):
    address: str
    client: str
    kind: Kind


def _subject(advertisement: Advertisement) -> _Subject:
    return {
        "address": advertisement.prefix.short,
        "client": printable_name(advertisement.name),
        "kind": advertisement.kind,
    }
