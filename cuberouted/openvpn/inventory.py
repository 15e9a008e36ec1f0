"""Taking stock: one listing after the other, what each changes, and whom to drop for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from cuberouted.model import SupersededSession, printable_name
from cuberouted.openvpn.drops import Drop, Drops
from cuberouted.openvpn.events import Reply
from cuberouted.openvpn.listing import Client, StatusError
from cuberouted.openvpn.sessions import Correction, LocalNews, Sessions
from cuberouted.openvpn.status import ListingReader


@attrs.frozen
class Result:
    """What one listing came to. ``problem``: why it is no news, or empty."""

    news: LocalNews | None = None
    drops: tuple[Drop, ...] = ()
    problem: str = ""


class Inventory:
    """The listings of one connection, one at a time."""

    def __init__(self, sessions: Sessions, drops: Drops) -> None:
        self._sessions = sessions
        self._drops = drops
        self._reader = ListingReader()
        self._correction: Correction | None = None  # from the first row on
        self._problem = ""
        self._listed: Mapping[bytes, Client] = {}  # by real address, in the last listing
        self._superseded: frozenset[SupersededSession] = frozenset()
        self._candidates: frozenset[SupersededSession] = frozenset()

    def supersede(self, superseded: frozenset[SupersededSession]) -> bool:
        """These sessions are superseded now, and no others; True: a new listing is needed.

        Because only one that is asked for after this can show whom to drop.
        """
        new = superseded - self._superseded
        self._superseded = superseded
        return bool(new)

    def begin(self) -> None:
        """A listing has just been asked for."""
        self._reader, self._correction, self._problem = ListingReader(), None, ""
        self._candidates = self._superseded

    def rows(self, lines: Iterable[bytes]) -> None:
        """Some of its rows have come."""
        if self._correction is None:
            self._correction = self._sessions.correction()
        try:
            for line in lines:
                self._reader.feed(line)
            self._correction.take(self._reader.take())
        except StatusError as exc:
            self._problem = str(exc)

    def end(self, reply: Reply, now: float) -> Result:
        """It has ended. What is wrong with a listing never withdraws anything."""
        if not reply.ok:
            return Result(problem=f"no complete listing: {printable_name(reply.text)}")
        if self._problem:
            return Result(problem=self._problem)
        try:
            listing = self._reader.finish()
        except StatusError as exc:
            return Result(problem=str(exc))
        drops = self._drops.due(self._candidates & self._superseded, listing, now)
        self._listed = listing.by_real
        correction = self._correction or self._sessions.correction()
        return Result(news=correction.finish(), drops=drops)

    def ended(self, name: bytes, real: bytes) -> LocalNews | None:
        """The session of *name* from the real address *real* has ended, its log line says.

        Only what the last listing showed under both is believed to be meant; where it
        showed nothing, the next listing tells. None: no news.
        """
        client = self._listed.get(real)
        if client is None or client.name != name:
            return None
        return self._sessions.ended(client)
