"""The routes of one OpenVPN process's sessions, from its events and listings. Pure.

An event is applied at once, unconfirmed; a complete listing corrects everything. Events and
listings arrive in one stream, so their order in it decides whether a listing can already contain
an announced session. A listing is compared while it arrives, so that its end takes little time.
"""

from __future__ import annotations

from collections.abc import Iterable
from socket import AF_INET, inet_pton

import attrs
import msgspec

from cuberouted.model import Kind, LocalRoute, Prefix, SessionId
from cuberouted.openvpn.protocol import NO_CID, UNDEF, Established
from cuberouted.openvpn.status import MAX_DIGITS, ListedClient


@attrs.frozen
class SessionUpdate:
    """Changes of the routes of OpenVPN process ``instance``.

    ``routes`` are new or changed, ``withdrawn`` are gone. ``complete``: a complete listing has
    confirmed what stands now.
    """

    instance: str
    routes: tuple[LocalRoute, ...]
    withdrawn: tuple[Prefix, ...]
    complete: bool


class Sessions:
    """The routes of the sessions of the OpenVPN process called *instance*."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._complete = False
        self._routes: dict[Prefix, LocalRoute] = {}
        self._announced: dict[SessionId, int] = {}  # session -> position of its last event
        self._renewed: dict[SessionId, int] = {}  # session -> Unix seconds
        self._position = 0
        self._count: int | None = 0  # None: to be counted again

    @property
    def count(self) -> int:
        """Number of sessions that have a route."""
        if self._count is None:
            self._count = len({route.session for route in self._routes.values()})
        return self._count

    def routes(self) -> tuple[LocalRoute, ...]:
        """Every route. A session has one for each of its addresses and networks."""
        return tuple(self._routes.values())

    def has(self, name: bytes) -> bool:
        """Whether a session of common name *name* has a route."""
        return any(route.name == name for route in self._routes.values())

    def established(self, event: Established) -> SessionUpdate | None:
        """Apply the event of a client that has just connected. None: nothing changed.

        Only its IPv4 address is used: the environment may contain another client's IPv6 address.
        """
        session = _session(event)
        if session is None:
            return None
        self._position += 1
        self._announced[session] = self._position
        route = _announced_route(session, event)
        if route is None or self._is_held_by(session, route.prefix):
            return None
        self._routes[route.prefix] = route
        self._count = None
        return SessionUpdate(self._instance, (route,), (), self._complete)

    def renewed(self, client: ListedClient, at: int = 0) -> SessionUpdate | None:
        """This client of a listing has come back to its session, so it is announced once more.

        *at*: Unix seconds of OpenVPN's clock, 0 if unknown. None: it has no route.
        """
        held = [
            route
            for prefix in client.prefixes
            if (route := self._routes.get(prefix)) is not None
            and _is_same_session(client.session, client.name, route)
        ]
        session = held[0].session if held else client.session
        at = max(at, session.since, self._renewed.get(session, 0) + 1)
        self._position += 1
        self._announced[session], self._renewed[session] = self._position, at
        routes = tuple(msgspec.structs.replace(route, announced=True, renewed=at) for route in held)
        self._routes |= {route.prefix: route for route in routes}
        return SessionUpdate(self._instance, routes, (), self._complete) if routes else None

    def ended(self, client: ListedClient) -> SessionUpdate | None:
        """Withdraw the remaining routes of this client of a listing. None: there are none."""
        withdrawn = tuple(
            prefix
            for prefix in client.prefixes
            if (held := self._routes.get(prefix)) is not None
            and _is_same_session(client.session, client.name, held)
        )
        for prefix in withdrawn:
            del self._routes[prefix]
        self._count = None
        return SessionUpdate(self._instance, (), withdrawn, self._complete) if withdrawn else None

    def reconciliation(self) -> Reconciliation:
        """Begin to compare with a listing whose first row has just arrived."""
        return Reconciliation(self, self._position)

    def get(self, prefix: Prefix) -> LocalRoute | None:
        """The route to *prefix*."""
        return self._routes.get(prefix)

    def is_announced(self, session: SessionId) -> bool:
        """Whether an event has announced *session*."""
        return session in self._announced

    def renewed_at(self, session: SessionId) -> int:
        """When *session* was renewed, or 0."""
        return self._renewed.get(session, 0)

    def replace(self, listed: dict[Prefix, LocalRoute], position: int) -> SessionUpdate | None:
        """Hold *listed* from now on, and what was announced after *position*. None: no change.

        Where nothing changed, *listed* has the very object that is held.
        """
        old, announced = self._routes, self._announced
        later = {session for session, at in announced.items() if at > position}
        if later:
            listed |= {p: route for p, route in old.items() if route.session in later}
        changed = tuple(route for p, route in listed.items() if old.get(p) is not route)
        withdrawn = tuple(p for p in old if p not in listed)
        self._routes, self._count = listed, None
        if announced:
            known = later | {route.session for route in listed.values()}
            self._announced = {s: at for s, at in announced.items() if s in known}
            self._renewed = {s: at for s, at in self._renewed.items() if s in known}
        first, self._complete = not self._complete, True
        if not (changed or withdrawn or first):
            return None
        return SessionUpdate(self._instance, changed, withdrawn, complete=True)

    def withdraw_all(self) -> SessionUpdate | None:
        """Withdraw everything, because OpenVPN stays away. None: there was nothing."""
        withdrawn = tuple(self._routes)
        changed = withdrawn or self._complete
        self._routes, self._announced, self._renewed = {}, {}, {}
        self._complete, self._count = False, 0
        return SessionUpdate(self._instance, (), withdrawn, complete=False) if changed else None

    def _is_held_by(self, session: SessionId, prefix: Prefix) -> bool:
        held = self._routes.get(prefix)
        return held is not None and held.session == session


class Reconciliation:
    """Compares a listing with what is held while it arrives. Only `finish` changes anything."""

    def __init__(self, sessions: Sessions, position: int) -> None:
        self._sessions = sessions
        self._position = position
        self._listed: dict[Prefix, LocalRoute] = {}

    def add(self, routes: Iterable[LocalRoute]) -> None:
        """Add the next *routes* of the listing."""
        get, listed = self._sessions.get, self._listed
        for route in routes:
            prefix = route.prefix
            held = get(prefix)
            if held is None or not _is_same_session(route.session, route.name, held):
                listed[prefix] = self._new(route)
            elif held.confirmed and held.kind is route.kind and held.name == route.name:
                listed[prefix] = held
            else:
                # keeps the event's client id where the listing has none
                listed[prefix] = LocalRoute(
                    prefix,
                    route.kind,
                    route.name,
                    held.session,
                    held.announced,
                    confirmed=True,
                    renewed=held.renewed,
                )

    def finish(self) -> SessionUpdate | None:
        """The listing is complete: hold what it contains. None: nothing changed."""
        return self._sessions.replace(self._listed, self._position)

    def _new(self, route: LocalRoute) -> LocalRoute:
        if not self._sessions.is_announced(route.session):
            return route
        renewed = self._sessions.renewed_at(route.session)
        return msgspec.structs.replace(route, announced=True, renewed=renewed)


def _is_same_session(session: SessionId, name: bytes, held: LocalRoute) -> bool:
    """Whether a listed *session* is the one behind *held*.

    ``time_unix`` of the event and ``Connected Since (time_t)`` of the listing are both OpenVPN's
    ``mi->created`` (multi.c). Without client ids, start and name have to be equal.
    """
    if session.cid == NO_CID:
        return session.since == held.session.since and name == held.name
    return session == held.session


def _session(event: Established) -> SessionId | None:
    since = event.env.get(b"time_unix", b"")
    known = since.isdigit() and len(since) <= MAX_DIGITS
    return SessionId(event.cid, int(since)) if known else None


def _announced_route(session: SessionId, event: Established) -> LocalRoute | None:
    name = event.env.get(b"common_name") or event.env.get(b"X509_0_CN") or UNDEF
    if name == UNDEF:
        return None
    try:
        text = event.env.get(b"ifconfig_pool_remote_ip", b"").decode("ascii")
        prefix = Prefix(inet_pton(AF_INET, text), 32)
    except (ValueError, OSError):
        return None
    return LocalRoute(prefix, Kind.CLIENT, name, session, announced=True, confirmed=False)
