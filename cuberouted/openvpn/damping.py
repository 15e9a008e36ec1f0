"""Which superseded sessions to drop from OpenVPN, and how often.

Two live devices with one certificate take the address from each other for ever: each drop
makes the loser connect again. So a name is dropped at growing intervals only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import attrs

from cuberouted.model import SupersededSession
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import Listing, Session

FIRST_WAIT = 60.0
MAX_WAIT = 3600.0
QUIET = 3600.0
"""Seconds without a wish to drop a name, after which it starts from FIRST_WAIT again."""

MAX_NAMES = 65536
"""Names that are remembered; the one that was wanted longest ago makes room."""


class Kill(NamedTuple):
    """A session to drop now, and what it lost."""

    session: Session
    superseded: SupersededSession


@attrs.define
class _Damping:
    wanted_at: float
    wait: float
    again_at: float


class KillDamping:
    """The drops of one OpenVPN."""

    def __init__(self) -> None:
        self._damped: dict[bytes, _Damping] = {}  # the name wanted longest ago first

    def due(
        self, superseded: Iterable[SupersededSession], listing: Listing, now: float
    ) -> tuple[Kill, ...]:
        """The sessions to drop now; they count as dropped.

        *listing* began after *superseded* was known. A session goes only if that still
        shows it at the address it lost, and no other session of its name: ``kill`` takes
        them all, and with duplicate-cn the other one may be well.
        """
        superseded = tuple(superseded)
        if not superseded:
            return ()
        self._forget(now)
        sessions = listing.named({item.name for item in superseded})
        count = Counter(session.name for session in sessions)
        listed = {s.name: s for s in sessions if count[s.name] == 1}
        drops: dict[bytes, Kill] = {}
        for item in superseded:
            session = listed.get(item.name)
            if session is None or item.name in drops or not _still_there(session, item):
                continue
            if self._allowed(item.name, now):
                drops[item.name] = Kill(session, item)
        return tuple(drops.values())

    def _allowed(self, name: bytes, now: float) -> bool:
        damping = self._damped.pop(name, None)
        if damping is None:
            if len(self._damped) >= MAX_NAMES:
                del self._damped[next(iter(self._damped))]
            damping = _Damping(now, FIRST_WAIT, now)
        allowed = now >= damping.again_at
        if allowed:
            damping.again_at = now + damping.wait
            damping.wait = min(damping.wait * 2, MAX_WAIT)
        damping.wanted_at = now
        self._damped[name] = damping
        return allowed

    def _forget(self, now: float) -> None:
        """Forget the names that nobody wanted to drop for an hour: the first ones."""
        quiet = []
        for name, damping in self._damped.items():
            if now - damping.wanted_at < QUIET:
                break
            quiet.append(name)
        for name in quiet:
            del self._damped[name]


def _still_there(session: Session, item: SupersededSession) -> bool:
    same = session.since == item.session.since and session.cid in (item.session.cid, NO_CID)
    return same and (item.prefix in session.addresses or item.prefix in session.networks)
