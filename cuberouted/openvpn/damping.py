"""Which superseded sessions to kill in OpenVPN, and how often. Pure.

Two live devices with one certificate take the address from each other without end, because each
killed session connects again. So each name has a token bucket: MAX_TOKENS kills at once, which a
client that roams needs, and then one every TOKEN_INTERVAL. One session is killed once in that
time: ``client-kill`` takes five seconds, in which it stays listed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import attrs

from cuberouted.model import SessionId, SupersededSession
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import ListedClient, Listing

MAX_TOKENS = 5.0
"""Kills of a name that are not delayed."""

TOKEN_INTERVAL = 60.0
"""Seconds until a name may be killed once more."""

MAX_NAMES = 65536
"""Names that are remembered. The one that was superseded longest ago is forgotten first."""


class Kill(NamedTuple):
    """A session to kill now, and what supersedes it."""

    client: ListedClient
    superseded: SupersededSession


@attrs.define
class _Bucket:
    """``tokens``: kills that were left at the time ``at``. ``killed``: the last, if any."""

    tokens: float
    at: float
    killed: SessionId | None = None
    killed_at: float = -math.inf

    def take(self, session: SessionId, now: float) -> bool:
        """Whether *session* may be killed at *now*; if so, it counts as killed."""
        self.tokens = min(self.tokens + (now - self.at) / TOKEN_INTERVAL, MAX_TOKENS)
        self.at = now
        if self.tokens < 1.0 or (session == self.killed and now < self.killed_at + TOKEN_INTERVAL):
            return False
        self.tokens -= 1.0
        self.killed, self.killed_at = session, now
        return True


class KillDamping:
    """Decides on the kills in one OpenVPN process."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, _Bucket] = {}  # the name superseded longest ago comes first

    def due(
        self, superseded: Iterable[SupersededSession], listing: Listing, now: float
    ) -> tuple[Kill, ...]:
        """The sessions to kill at *now*; they count as killed.

        *listing* was requested after *superseded* was known. A session is killed only if the
        listing still has it at the address that it lost, and no other session with its name:
        ``kill`` ends all of them, and with duplicate-cn the other one may be alive.
        """
        superseded = tuple(superseded)
        if not superseded:
            return ()
        self._forget(now)
        names = {item.name for item in superseded}
        clients = [client for client in listing.clients if client.name in names]
        count = Counter(client.name for client in clients)
        only = {client.name: client for client in clients if count[client.name] == 1}
        kills: dict[bytes, Kill] = {}
        for item in superseded:
            client = only.get(item.name)
            if client is None or item.name in kills or not _is_unchanged(client, item):
                continue
            if self._is_allowed(item.name, client.session, now):
                kills[item.name] = Kill(client, item)
        return tuple(kills.values())

    def _is_allowed(self, name: bytes, session: SessionId, now: float) -> bool:
        bucket = self._buckets.pop(name, None)
        if bucket is None:
            if len(self._buckets) >= MAX_NAMES:
                del self._buckets[next(iter(self._buckets))]
            bucket = _Bucket(MAX_TOKENS, now)
        self._buckets[name] = bucket
        return bucket.take(session, now)

    def _forget(self, now: float) -> None:
        expired = []
        for name, bucket in self._buckets.items():
            if now - bucket.at < MAX_TOKENS * TOKEN_INTERVAL:
                break  # all that follow are newer
            expired.append(name)  # it is full again
        for name in expired:
            del self._buckets[name]


def _is_unchanged(client: ListedClient, item: SupersededSession) -> bool:
    cid, since = client.session
    same = since == item.session.since and cid in (item.session.cid, NO_CID)
    return same and item.prefix in client.prefixes
