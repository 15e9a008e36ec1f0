"""What the clients of one OpenVPN hold, from its events and listings.

An event is applied at once and unconfirmed; a complete listing is the truth that corrects.
Events and listings come in one stream, so their order there tells whether a listing can
show what an event told. A listing is compared while it comes in, so that its end is no
long pause.
"""

from __future__ import annotations

from collections.abc import Iterable
from socket import AF_INET, inet_pton

import attrs

from cuberouted.model import Kind, LocalRoute, Prefix, SessionId
from cuberouted.openvpn.protocol import NO_CID, UNDEF, Established
from cuberouted.openvpn.status import Client, Holding


@attrs.frozen
class SessionUpdate:
    """What changed in the claims of one OpenVPN.

    ``instance`` is its configured name. ``routes`` are new or changed, ``withdrawn`` no
    longer held here. ``complete``: a complete listing stands behind what is held now.
    """

    instance: str
    routes: tuple[LocalRoute, ...]
    withdrawn: tuple[Prefix, ...]
    complete: bool


class Sessions:
    """The claims of the OpenVPN process called *instance*."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._complete = False
        self._claims: dict[Prefix, LocalRoute] = {}
        self._announced: dict[SessionId, int] = {}  # session -> the event's place in the stream
        self._place = 0

    @property
    def count(self) -> int:
        """How many clients hold anything."""
        return len({claim.session for claim in self._claims.values()})

    def established(self, event: Established) -> SessionUpdate | None:
        """Apply what OpenVPN says of a client that just connected.

        Only the IPv4 address, from whoever held it before: the environment may show
        another client's IPv6 address. None where it tells nothing new that can be used.
        """
        session = _session(event)
        if session is None:
            return None
        self._place += 1
        self._announced[session] = self._place
        claim = _announced_claim(session, event)
        if claim is None or self._holds(session, claim.prefix):
            return None
        self._claims[claim.prefix] = claim
        return SessionUpdate(self._instance, (claim,), (), self._complete)

    def ended(self, client: Client) -> SessionUpdate | None:
        """Withdraw what this client of a listing still holds. None: nothing."""
        withdrawn = tuple(
            prefix
            for prefix in (*client.addresses, *client.networks)
            if (held := self.held(prefix)) is not None and _same(client, held)
        )
        for prefix in withdrawn:
            del self._claims[prefix]
        return SessionUpdate(self._instance, (), withdrawn, self._complete) if withdrawn else None

    def _holds(self, session: SessionId, prefix: Prefix) -> bool:
        held = self.held(prefix)
        return held is not None and held.session == session

    def correction(self) -> Reconciliation:
        """What makes this equal to a listing whose first row has just come."""
        return Reconciliation(self, self._place)

    def held(self, prefix: Prefix) -> LocalRoute | None:
        """Who holds *prefix*."""
        return self._claims.get(prefix)

    def is_announced(self, session: SessionId) -> bool:
        """Whether an event told of *session*."""
        return session in self._announced

    def correct(self, shown: dict[Prefix, LocalRoute], place: int) -> SessionUpdate | None:
        """Hold *shown* from now on, and what was announced after *place*.

        *shown* has the very claim that is held, where nothing changed. None: no news.
        """
        old, announced = self._claims, self._announced
        later = {session for session, at in announced.items() if at > place}
        if later:
            shown |= {p: claim for p, claim in old.items() if claim.session in later}
        changed = tuple(claim for p, claim in shown.items() if old.get(p) is not claim)
        withdrawn = tuple(p for p in old if p not in shown)
        self._claims = shown
        if announced:
            known = later | {claim.session for claim in shown.values()}
            self._announced = {s: at for s, at in announced.items() if s in known}
        first, self._complete = not self._complete, True
        if not (changed or withdrawn or first):
            return None
        return SessionUpdate(self._instance, changed, withdrawn, complete=True)

    def lost(self) -> SessionUpdate | None:
        """Withdraw everything: OpenVPN has gone for good. None: nothing was held."""
        withdrawn = tuple(self._claims)
        told = withdrawn or self._complete
        self._claims, self._announced, self._complete = {}, {}, False
        return SessionUpdate(self._instance, (), withdrawn, complete=False) if told else None


class Reconciliation:
    """A listing that is being taken in; nothing changes before it is complete."""

    def __init__(self, sessions: Sessions, place: int) -> None:
        self._sessions = sessions
        self._place = place
        self._shown: dict[Prefix, LocalRoute] = {}

    def take(self, holdings: Iterable[Holding]) -> None:
        """Some of what it shows."""
        held_by = self._sessions.held
        for prefix, kind, client in holdings:
            held = held_by(prefix)
            if held is None or not _same(client, held):
                self._shown[prefix] = self._claim(prefix, kind, client)
            elif held.confirmed and held.kind is kind and held.name == client.name:
                self._shown[prefix] = held
            else:  # with its own client id, also where the listing has none
                number, announced = held.session, held.announced
                self._shown[prefix] = LocalRoute(prefix, kind, client.name, number, announced, True)

    def finish(self) -> SessionUpdate | None:
        """It is complete. None: it changed nothing."""
        return self._sessions.correct(self._shown, self._place)

    def _claim(self, prefix: Prefix, kind: Kind, client: Client) -> LocalRoute:
        session = SessionId(client.cid, client.since)
        announced = self._sessions.is_announced(session)
        return LocalRoute(prefix, kind, client.name, session, announced, confirmed=True)


def _same(client: Client, held: LocalRoute) -> bool:
    """Whether the client of a listing is the session that holds *held*.

    ``time_unix`` in the event and ``Connected Since (time_t)`` in the listing are both
    OpenVPN's ``mi->created`` (multi.c). Where the listing has no client ids, start and
    name tell.
    """
    cid, since = held.session
    if client.cid == NO_CID:
        return client.since == since and client.name == held.name
    return client.cid == cid and client.since == since


def _session(event: Established) -> SessionId | None:
    since = event.env.get(b"time_unix", b"")
    known = since.isdigit() and len(since) <= MAX_DIGITS
    return SessionId(event.cid, int(since)) if known else None


def _announced_claim(session: SessionId, event: Established) -> LocalRoute | None:
    name = event.env.get(b"common_name") or event.env.get(b"X509_0_CN") or UNDEF
    if name == UNDEF:
        return None
    try:
        text = event.env.get(b"ifconfig_pool_remote_ip", b"").decode("ascii")
        prefix = Prefix(inet_pton(AF_INET, text), 32)
    except (ValueError, OSError):
        return None
    return LocalRoute(prefix, Kind.CLIENT, name, session, announced=True, confirmed=False)


MAX_DIGITS = 18
"""Longer numbers are no times of OpenVPN's, and would not fit 64 bits."""
