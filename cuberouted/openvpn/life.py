"""Which superseded sessions may be killed, and which are alive after all. Pure.

A client that moves away leaves a dead session behind, which is killed at the first listing. But
OpenVPN does not announce a client that comes back to its dead session, and where its log does not
tell either, only the bytes that it receives from the client show it. So a session that was not
killed at once is killed only while these stand still.

OpenVPN counts bytes before it authenticates them (forward.c, process_incoming_link_part1), so a
forged packet is counted, too. Therefore one growth only prevents the kill; a second one shows that
the client is back.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import attrs

from cuberouted.model import SessionId, SupersededSession
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import ListedClient, Listing

STILL_TIME = 20.0
"""Seconds for which nothing may be received from a client that is dead. An idle client sends a
ping every ten seconds with the usual ``keepalive 10 60``. What arrives in the first moments may
have been sent before the client moved."""

RENEWED_TIME = 5.0
"""Seconds for which a session that its client has just come back to is not killed at the first
listing: the server that the client has left may advertise an IPv6 address or a network of it late,
because these are known from listings only."""

RENEWAL_INTERVAL = 60.0
"""Seconds until bytes may show once more that a client of some name is back. Two live devices
with one certificate would otherwise take the address from each other at every listing."""


@attrs.frozen
class Found:
    """``killable``: these may be killed. ``back``: clients that have come back to their sessions.
    ``again_at``: when another listing should be requested to decide on the others; inf: never.
    """

    killable: list[SupersededSession]
    back: list[ListedClient]
    again_at: float


@attrs.define
class _Watch:
    """``version``: of the best route that supersedes the session. ``since``: when the first
    listing was requested, or the last one that showed more bytes. ``received``: the bytes then.
    ``growths``: how often more had been received. ``alive``: that has ever happened.
    """

    version: int
    since: float
    received: int
    alive: bool = False
    growths: int = 0

    def is_dead(self, received: int, requested_at: float) -> bool:
        """Whether nothing was received from the client for STILL_TIME."""
        if received > self.received:
            self.received, self.since = received, requested_at
            self.growths, self.alive = self.growths + 1, True
        return requested_at >= self.since + STILL_TIME


class LifeWatch:
    """Compares what OpenVPN has received from the clients of superseded sessions."""

    def __init__(self) -> None:
        self._watches: dict[SessionId, _Watch] = {}
        self._renewed_at: dict[SessionId, float] = {}
        self._back_at: dict[bytes, float] = {}  # name -> when bytes last showed that it is back

    def renewed(self, session: SessionId, now: float) -> None:
        """The client has come back to *session*, as OpenVPN's log shows."""
        self._renewed_at[session] = now

    def compare(
        self, superseded: Iterable[SupersededSession], listing: Listing, requested_at: float
    ) -> Found:
        """Compare with *listing*, requested at *requested_at*, when *superseded* was known."""
        self._forget(requested_at)
        wanted: dict[tuple[bytes, SessionId], list[SupersededSession]] = {}
        for item in superseded:
            # OpenVPN 2.3 announces client ids, but lists none
            for session in {item.session, item.session._replace(cid=NO_CID)}:
                wanted.setdefault((item.name, session), []).append(item)
        before, self._watches = self._watches, {}
        killable: list[SupersededSession] = []
        back: list[ListedClient] = []
        again_at = inf
        for client in listing.clients if wanted else ():
            items = wanted.get((client.name, client.session))
            if items is None:
                continue
            watch, is_new = self._watch(before, client, items, requested_at)
            if is_new or watch.is_dead(client.received, requested_at):
                killable += items
                continue
            again_at = min(again_at, watch.since + STILL_TIME)
            if watch.growths > 1 and client.name not in self._back_at:
                self._back_at[client.name] = requested_at
                back.append(client)
        return Found(killable, back, again_at)

    def _watch(
        self,
        before: dict[SessionId, _Watch],
        client: ListedClient,
        items: list[SupersededSession],
        requested_at: float,
    ) -> tuple[_Watch, bool]:
        """The watch of *client*, and whether its session may be killed without a comparison."""
        version = max(item.version for item in items)
        watch = before.get(client.session)
        is_new = watch is None or (version > watch.version and not watch.alive)
        if watch is None or version > watch.version:
            alive = watch is not None and watch.alive
            watch = _Watch(version, requested_at, client.received, alive)
        self._watches[client.session] = watch
        return watch, is_new and client.session not in self._renewed_at

    def _forget(self, now: float) -> None:
        self._renewed_at = {
            session: at for session, at in self._renewed_at.items() if now < at + RENEWED_TIME
        }
        self._back_at = {
            name: at for name, at in self._back_at.items() if now < at + RENEWAL_INTERVAL
        }
