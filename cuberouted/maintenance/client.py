"""One client of a node that is drained, and what became of it. Pure."""

from __future__ import annotations

import enum
import math

import attrs

from cuberouted.model import Prefix, SessionId

LEFT_AFTER = 30.0
"""Seconds after which a client that was sent on and is nowhere has left. OpenVPN tries a server for
up to two minutes, but the next one answers in seconds."""

LISTED_AFTER = 15.0
"""Seconds after which a session that is still listed was not ended: OpenVPN ends it after five, and
then has to be listed."""

FIRST_RETURN_DELAY = 2.0
"""Seconds for which a client that comes back stays before it is sent on again."""

MAX_RETURN_DELAY = 60.0
"""The delay doubles with each return up to this: the client has service most of the time."""

SETTLED_RETURNS = 2
"""A client that came back so often is not waited for: it knows no other server."""


class Outcome(enum.StrEnum):
    """What became of a client: see `report_drain.DrainClientRow`."""

    WAITING = "waiting"
    SENT = "sent"
    MOVED = "moved"
    CAME_BACK = "came_back"
    LEFT = "left"
    KEPT = "kept"


@attrs.frozen
class LocalSession:
    """A session of an OpenVPN process on this host."""

    instance: str
    session: SessionId
    name: bytes
    prefix: Prefix

    @property
    def key(self) -> tuple[str, SessionId, bytes]:
        """Identifies it. Without client ids (OpenVPN 2.3) only the name tells sessions apart."""
        return (self.instance, self.session, self.name)


@attrs.define(eq=False)
class DrainedClient:
    """A client, whatever sessions it has here, one after the other.

    ``session``: the last one, ``here``: whether it is listed. ``sent_at``: when that session was
    sent on, or None. ``due_at``: when it will be, inf if it is not known. ``last_sent_at``: when
    any session of it was. ``gone_at``: when it was last seen here without having been sent on.
    """

    session: LocalSession
    here: bool = True
    seen_in: int = 0
    sent_at: float | None = None
    due_at: float = math.inf
    last_sent_at: float | None = None
    gone_at: float | None = None
    returns: int = 0
    moved_to: str = ""
    why_kept: str = ""

    def outcome(self, now: float) -> Outcome:
        """What has become of it at *now*."""
        if self.moved_to:
            return Outcome.MOVED
        if self.why_kept and self.here:
            return Outcome.KEPT
        if self.here and self.sent_at is None:
            return Outcome.CAME_BACK if self.returns else Outcome.WAITING
        since = self.gone_at if self.last_sent_at is None else self.last_sent_at
        if not self.here and since is not None and now >= since + LEFT_AFTER:
            return Outcome.LEFT
        return Outcome.CAME_BACK if self.returns >= SETTLED_RETURNS else Outcome.SENT

    def is_pending(self, outcome: Outcome) -> bool:
        """Whether the drain is not finished because of it, whose *outcome* is this now."""
        if outcome is Outcome.CAME_BACK:
            return self.returns < SETTLED_RETURNS
        return outcome is Outcome.WAITING or outcome is Outcome.SENT

    def return_delay(self) -> float:
        """Seconds until it is sent on again."""
        return min(FIRST_RETURN_DELAY * 2.0 ** max(0, self.returns - 1), MAX_RETURN_DELAY)
