"""What the clients of one OpenVPN hold, from its events and listings.

An event is applied at once and unconfirmed; a complete listing is the truth that corrects.
Events and listings come in one stream, so their order there tells whether a listing can
show what an event told: `mark` is where a listing began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from socket import AF_INET, inet_pton

import attrs

from cuberouted.model import Kind, LocalClaim, Prefix, SessionId
from cuberouted.openvpn.commands import NO_CID, UNDEF
from cuberouted.openvpn.events import Established
from cuberouted.openvpn.listing import Listing, Session


@attrs.frozen
class LocalNews:
    """What changed in the claims of one OpenVPN.

    ``instance`` is its configured name. ``claims`` are new or changed, ``withdrawn`` no
    longer held here. ``complete``: a complete listing stands behind what is held now.
    """

    instance: str
    claims: tuple[LocalClaim, ...]
    withdrawn: tuple[Prefix, ...]
    complete: bool


class Sessions:
    """The claims of the OpenVPN process called *instance*."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._complete = False
        self._claims: dict[Prefix, LocalClaim] = {}
        self._announced: dict[SessionId, int] = {}  # session -> the event's place in the stream
        self._place = 0

    @property
    def count(self) -> int:
        """How many clients hold anything."""
        return len({claim.session for claim in self._claims.values()})

    def established(self, event: Established) -> LocalNews | None:
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
        return LocalNews(self._instance, (claim,), (), self._complete)

    def _holds(self, session: SessionId, prefix: Prefix) -> bool:
        held = self._claims.get(prefix)
        return held is not None and held.session == session

    def mark(self) -> int:
        """Where in the stream we are; to be taken when a listing's first row comes."""
        return self._place

    def listing(self, listing: Listing, mark: int) -> LocalNews | None:
        """Make what is held equal to a complete listing that began at *mark*.

        What was announced after that stays as it is. None: nothing changed.
        """
        announced, old = self._announced, self._claims
        later = {session for session, place in announced.items() if place > mark}
        new = {p: claim for p, claim in old.items() if later and claim.session in later}
        changed: list[LocalClaim] = []
        shown: set[SessionId] = set()
        for session, kind, prefix in _holdings(listing.sessions):
            held = old.get(prefix)
            if held is not None and held.session in later:
                continue
            claim = self._confirmed(session, kind, prefix, held)
            new[prefix] = claim
            shown.add(claim.session)
            if claim is not held:
                changed.append(claim)
        withdrawn = tuple(prefix for prefix in old if prefix not in new)
        self._claims = new
        self._announced = {s: place for s, place in announced.items() if s in later or s in shown}
        first, self._complete = not self._complete, True
        if not (changed or withdrawn or first):
            return None
        return LocalNews(self._instance, tuple(changed), withdrawn, complete=True)

    def lost(self) -> LocalNews | None:
        """Withdraw everything: OpenVPN has gone for good. None: nothing was held."""
        withdrawn = tuple(self._claims)
        told = withdrawn or self._complete
        self._claims, self._announced, self._complete = {}, {}, False
        return LocalNews(self._instance, (), withdrawn, complete=False) if told else None

    def _confirmed(
        self, session: Session, kind: Kind, prefix: Prefix, held: LocalClaim | None
    ) -> LocalClaim:
        """The claim, or *held* itself if that is just this."""
        if held is not None and _same(session, held):
            if held.confirmed and held.kind is kind and held.name == session.name:
                return held
            number = held.session  # with its client id, also where the listing has none
        else:
            number = session.id
        return LocalClaim(prefix, kind, session.name, number, number in self._announced, True)


def _holdings(sessions: Iterable[Session]) -> Iterator[tuple[Session, Kind, Prefix]]:
    for session in sessions:
        for prefix in session.addresses:
            yield session, Kind.CLIENT, prefix
        for prefix in session.networks:
            yield session, Kind.NETWORK, prefix


def _same(session: Session, held: LocalClaim) -> bool:
    """Whether the session of a listing is the one that holds *held*.

    ``time_unix`` in the event and ``Connected Since (time_t)`` in the listing are both
    OpenVPN's ``mi->created`` (multi.c). Where the listing has no client ids, start and
    name tell.
    """
    cid, since = held.session
    if session.cid == NO_CID:
        return session.since == since and session.name == held.name
    return session.cid == cid and session.since == since


def _session(event: Established) -> SessionId | None:
    since = event.env.get(b"time_unix", b"")
    known = since.isdigit() and len(since) <= MAX_DIGITS
    return SessionId(event.cid, int(since)) if known else None


def _announced_claim(session: SessionId, event: Established) -> LocalClaim | None:
    name = event.env.get(b"common_name") or event.env.get(b"X509_0_CN") or UNDEF
    if name == UNDEF:
        return None
    try:
        text = event.env.get(b"ifconfig_pool_remote_ip", b"").decode("ascii")
        prefix = Prefix(inet_pton(AF_INET, text), 32)
    except (ValueError, OSError):
        return None
    return LocalClaim(prefix, Kind.CLIENT, name, session, announced=True, confirmed=False)


MAX_DIGITS = 18
"""Longer numbers are no times of OpenVPN's, and would not fit 64 bits."""
