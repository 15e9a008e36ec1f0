"""The listings of one connection: what each one changes, and whom to kill because of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

import attrs

from cuberouted.model import SupersededSession, printable_name
from cuberouted.openvpn.damping import Kill, KillDamping
from cuberouted.openvpn.life import LifeWatch
from cuberouted.openvpn.protocol import Reply
from cuberouted.openvpn.sessions import Reconciliation, Sessions, SessionUpdate
from cuberouted.openvpn.status import ListedClient, Listing, ListingReader, StatusError


@attrs.frozen
class ListingResult:
    """The result of one listing.

    ``problem``: why it was not used, or empty. ``listing``: what it contains, if it was used.
    ``again_at``: when to request another one for a superseded session (`life.Found`).
    """

    updates: tuple[SessionUpdate, ...] = ()
    kills: tuple[Kill, ...] = ()
    problem: str = ""
    listing: Listing | None = None
    again_at: float = inf


class ListingTracker:
    """Reads one listing at a time."""

    def __init__(self, sessions: Sessions, damping: KillDamping, life: LifeWatch) -> None:
        self._sessions = sessions
        self._damping = damping
        self._life = life
        self._reader = ListingReader()
        self._reconciliation: Reconciliation | None = None  # from the first row on
        self._problem = ""
        self._by_real: Mapping[bytes, ListedClient] = {}  # of the last complete listing
        self._handshakes: set[bytes] = set()  # real addresses of clients that have begun one
        self._requested_at = 0.0
        self._superseded: frozenset[SupersededSession] = frozenset()
        self._to_kill: frozenset[SupersededSession] = frozenset()  # when the listing was requested

    def set_superseded(self, superseded: frozenset[SupersededSession]) -> bool:
        """These sessions are superseded now. Return whether a new listing is needed.

        Only a listing that is requested after this can show which of them to kill.
        """
        new = superseded - self._superseded
        self._superseded = superseded
        return bool(new)

    def begin(self, now: float) -> None:
        """A listing has just been requested."""
        self._requested_at = now
        self._reader, self._reconciliation, self._problem = ListingReader(), None, ""
        self._to_kill = self._superseded

    def rows(self, lines: Iterable[bytes]) -> None:
        """Read some rows of the listing."""
        if self._reconciliation is None:
            self._reconciliation = self._sessions.reconciliation()
        try:
            for line in lines:
                self._reader.feed(line)
            self._reconciliation.add(self._reader.drain())
        except StatusError as exc:
            self._problem = str(exc)

    def end(self, reply: Reply, now: float) -> ListingResult:
        """Finish the listing. One that is incomplete or malformed withdraws nothing."""
        if not reply.ok:
            return ListingResult(problem=f"no complete listing: {printable_name(reply.text)}")
        if self._problem:
            return ListingResult(problem=self._problem)
        try:
            listing = self._reader.finish()
        except StatusError as exc:
            return ListingResult(problem=str(exc))
        found = self._life.compare(self._to_kill & self._superseded, listing, self._requested_at)
        kills = self._damping.due(found.killable, listing, now)
        self._by_real = listing.by_real
        self._handshakes &= listing.by_real.keys()
        reconciliation = self._reconciliation or self._sessions.reconciliation()
        updates = [reconciliation.finish(), *map(self._sessions.renewed, found.back)]
        changes = tuple(update for update in updates if update is not None)
        return ListingResult(changes, kills, listing=listing, again_at=found.again_at)

    def handshake_begun(self, name: bytes, real: bytes) -> None:
        """OpenVPN has logged the first packet of a handshake with a client that it lists.

        Anybody can send that packet in the client's name, so nothing is changed yet.
        """
        if self._listed(name, real) is not None:
            self._handshakes.add(real)

    def configured(self, name: bytes, real: bytes, at: int, now: float) -> SessionUpdate | None:
        """OpenVPN has logged that it sent a client its configuration; *at*: its Unix seconds.

        Where a listed client has begun a handshake before, it has come back to its session. The
        first handshake of a session is logged before its client has a name. None: nothing changed.
        """
        client = self._listed(name, real)
        if client is None or real not in self._handshakes:
            return None
        self._handshakes.remove(real)
        self._life.renewed(client.session, now)
        return self._sessions.renewed(client, at)

    def session_ended(self, name: bytes, real: bytes) -> SessionUpdate | None:
        """OpenVPN has logged the end of a session of *name* from real address *real*.

        Only a client that the last listing had under both is meant; otherwise the next listing
        shows what has ended. None: nothing changed.
        """
        client = self._listed(name, real)
        return None if client is None else self._sessions.ended(client)

    def _listed(self, name: bytes, real: bytes) -> ListedClient | None:
        client = self._by_real.get(real)
        return client if client is not None and client.name == name else None
