"""Which superseded sessions to kill in OpenVPN, and how often. Pure.

Two live devices with one certificate take the address from each other without end, because each
killed session connects again. So a name is killed at growing intervals only, like a flapping
route that is damped (RFC 2439).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import attrs

from cuberouted.model import SupersededSession
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import ListedClient, Listing

FIRST_WAIT = 60.0
"""Seconds between the first two kills of a name. The wait doubles with every kill."""

MAX_WAIT = 3600.0

RESET_TIME = 3600.0
"""Seconds without a reason to kill a name, after which its wait begins at FIRST_WAIT again."""

MAX_NAMES = 65536
"""Names that are remembered. The one that was superseded longest ago is forgotten first."""


class Kill(NamedTuple):
    """A session to kill now, and what supersedes it."""

    client: ListedClient
    superseded: SupersededSession


@attrs.define
class _Damping:
    superseded_at: float
    wait: float
    next_kill_at: float


class KillDamping:
    """Decides on the kills in one OpenVPN process."""

    def __init__(self) -> None:
        self._damped: dict[bytes, _Damping] = {}  # the name superseded longest ago comes first

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
            if self._is_allowed(item.name, now):
                kills[item.name] = Kill(client, item)
        return tuple(kills.values())

    def _is_allowed(self, name: bytes, now: float) -> bool:
        damping = self._damped.pop(name, None)
        if damping is None:
            if len(self._damped) >= MAX_NAMES:
                del self._damped[next(iter(self._damped))]
            damping = _Damping(now, FIRST_WAIT, now)
        allowed = now >= damping.next_kill_at
        if allowed:
            damping.next_kill_at = now + damping.wait
            damping.wait = min(damping.wait * 2, MAX_WAIT)
        damping.superseded_at = now
        self._damped[name] = damping
        return allowed

    def _forget(self, now: float) -> None:
        expired = []
        for name, damping in self._damped.items():
            if now - damping.superseded_at < RESET_TIME:
                break  # all that follow are newer
            expired.append(name)
        for name in expired:
            del self._damped[name]


def _is_unchanged(client: ListedClient, item: SupersededSession) -> bool:
    cid, since = client.session
    same = since == item.session.since and cid in (item.session.cid, NO_CID)
    return same and item.prefix in client.prefixes
