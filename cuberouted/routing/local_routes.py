"""Turns the routes of local sessions into advertisements. Pure.

An advertisement's version orders the routes to one prefix over the whole mesh. It joins EVPN's
MAC mobility sequence number (RFC 7432 section 15) with the session's start, so that it survives
a restart of the daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cuberouted.model import MAX_VERSION, Advertisement, LocalRoute, Prefix, SessionId

MAX_PREVIOUS_SESSIONS = 64
"""Sessions of one prefix that are remembered because an unconfirmed one took their place; the
oldest are forgotten first."""


_Announcement = tuple[SessionId, int]  # a session, and when it was renewed


class LocalRoutes:
    """The routes of one OpenVPN process's sessions, with their versions."""

    def __init__(self) -> None:
        self._current: dict[Prefix, tuple[LocalRoute, int]] = {}
        self._previous: dict[Prefix, dict[_Announcement, int]] = {}

    def session(self, prefix: Prefix) -> SessionId:
        """The session that *prefix* leads to. Raises KeyError: there is none."""
        return self._current[prefix][0].session

    def withdraw(self, prefixes: Iterable[Prefix]) -> None:
        """Forget these routes."""
        for prefix in prefixes:
            self._current.pop(prefix, None)
            self._previous.pop(prefix, None)

    def advertisements(
        self, routes: Iterable[LocalRoute], highest_version: Callable[[Prefix], int]
    ) -> list[Advertisement]:
        """The advertisements of new or changed *routes*.

        *highest_version*: the highest version known of a prefix (`rib.Rib.highest_version`).
        """
        advertisements = []
        for route in routes:
            prefix = route.prefix
            version = self._version(route, highest_version)
            self._remember_previous(route)
            self._current[prefix] = route, version
            advertisements.append(
                Advertisement(
                    prefix, route.kind, route.name, version, route.confirmed, route.session.since
                )
            )
        return advertisements

    def _version(self, route: LocalRoute, highest_version: Callable[[Prefix], int]) -> int:
        current = self._current.get(route.prefix)
        if current is not None:
            known, version = current
            same = known.session == route.session and known.renewed >= route.renewed
            if same and (known.announced or not route.announced):
                return version
        previous = self._previous.get(route.prefix, {})
        if (route.session, route.renewed) in previous:
            return previous[route.session, route.renewed]
        began = max(route.session.since, route.renewed)
        since = max(1, min(began * 1_000_000, MAX_VERSION - 1))
        if not route.announced:
            # found in a listing: it is as old as it is, or a restarted daemon would let its dead
            # sessions win over live ones elsewhere
            return since
        # announced just now: newer than everything known, whatever the servers' clocks show
        return min(max(since, highest_version(route.prefix) + 1), MAX_VERSION - 1)

    def _remember_previous(self, route: LocalRoute) -> None:
        """Remember the session that an unconfirmed *route* replaces.

        If a script refuses the new client, the next listing shows the old session again.
        """
        current = self._current.get(route.prefix)
        if route.confirmed:
            self._previous.pop(route.prefix, None)
        elif current is not None and current[0].session != route.session:
            known, version = current
            previous = self._previous.setdefault(route.prefix, {})
            previous[known.session, known.renewed] = version
            if len(previous) > MAX_PREVIOUS_SESSIONS:
                del previous[next(iter(previous))]
