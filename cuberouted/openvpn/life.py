"""Which superseded sessions may be killed, and which are alive after all. Pure.

A client that moves away leaves a dead session behind, which is killed at the first listing. But
OpenVPN does not announce a client that comes back to its dead session, and where its log does not
tell either, only the bytes that it receives from the client show it. So a session that was not
killed at once is killed only while these stand still.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from cuberouted.model import SessionId, SupersededSession
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import ListedClient, Listing

IN_FLIGHT_TIME = 2.0
"""Seconds. Packets that the client sent before it moved may arrive so long after the first listing
that was requested when it had moved."""

RENEWED_TIME = 5.0
"""Seconds for which a session that its client has just come back to is not killed at the first
listing: the server that the client has left may advertise an IPv6 address or a network of it late,
because these are known from listings only."""

RENEWAL_INTERVAL = 60.0
"""Seconds until bytes may show once more that a client of some name is back. Two live devices
with one certificate would otherwise take the address from each other at every listing."""


@attrs.frozen
class Found:
    """``dead``: these may be killed. ``back``: clients that have come back to their sessions.
    ``is_open``: of some session only another listing, IN_FLIGHT_TIME later, can show which.
    """

    dead: list[SupersededSession]
    back: list[ListedClient]
    is_open: bool


@attrs.define
class _Watch:
    """``first_at``: when the first listing was requested. ``received``: the bytes to compare with,
    None if unknown yet. ``alive``: more have been received since.
    """

    first_at: float
    received: int | None = None
    alive: bool = False


class LifeWatch:
    """Compares what OpenVPN has received from the clients of superseded sessions."""

    def __init__(self) -> None:
        self._watches: dict[SupersededSession, _Watch] = {}
        self._back_at: dict[bytes, float] = {}  # name -> when bytes last showed that it is back
        self._renewed_at: dict[SessionId, float] = {}

    def renewed(self, session: SessionId, now: float) -> None:
        """The client has come back to *session*, as OpenVPN's log shows."""
        self._renewed_at[session] = now

    def look(
        self, superseded: Iterable[SupersededSession], listing: Listing, requested_at: float
    ) -> Found:
        """Compare with *listing*, requested at *requested_at*, when *superseded* was known."""
        before, self._watches = self._watches, {}
        self._renewed_at = {
            session: at
            for session, at in self._renewed_at.items()
            if requested_at < at + RENEWED_TIME
        }
        dead: list[SupersededSession] = []
        back: list[ListedClient] = []
        is_open = False
        superseded = tuple(superseded)
        names = {item.name for item in superseded}
        clients = {client.session: client for client in listing.clients if client.name in names}
        for item in superseded:
            session = item.session
            client = clients.get(session) or clients.get(session._replace(cid=NO_CID))
            if client is None:
                continue
            first = item not in before and client.session not in self._renewed_at
            watch = before.get(item) or _Watch(requested_at)
            self._watches[item] = watch
            if first:
                dead.append(item)
            elif watch.received is None:
                is_open = True
                if requested_at >= watch.first_at + IN_FLIGHT_TIME:
                    watch.received = client.received
            elif not watch.alive and client.received == watch.received:
                dead.append(item)
            else:
                watch.alive = True
                if client not in back and self._may_be_back(client.name, requested_at):
                    back.append(client)
        return Found(dead, back, is_open)

    def _may_be_back(self, name: bytes, now: float) -> bool:
        recent = {n: at for n, at in self._back_at.items() if now < at + RENEWAL_INTERVAL}
        self._back_at = recent
        if name in recent:
            return False
        recent[name] = now
        return True
