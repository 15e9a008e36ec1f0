"""The session with one peer: its state, its timers, and the routes received from it.

Sans-IO: messages, the state of the connection and ``now`` (monotonic seconds) go in,
`PeerActions` come out. Call `receive` for everything that has arrived before `timer`, which
would otherwise mistake a busy process for a silent peer.
"""

from __future__ import annotations

import enum
import functools
import math
import secrets
from collections.abc import Callable

import attrs

from cuberouted.model import NodeInfo
from cuberouted.peering.adj_rib_in import AdjRibIn
from cuberouted.peering.events import (
    DropReason,
    InfoChange,
    PeerActions,
    PeerCounters,
    PeerLimits,
    PeerLost,
    PeerState,
    PeerStatus,
    PeerUpdate,
    StateChange,
    known_as,
    only_small_messages,
)
from cuberouted.peering.messages import (
    NONCE_BYTES,
    UPDATES,
    AnyMessage,
    Direct,
    Goodbye,
    Heartbeat,
    IncompatibleVersionError,
    SnapshotPart,
    direct_topic,
)
from cuberouted.peering.peer_info import checked

DOWN, SYNCING, UP, RESTARTING, INCOMPATIBLE = PeerState

MAX_SILENCES = 2
"""After so many requests for a snapshot in a row that were followed by silence instead of any part
of it, larger messages are taken to be lost on the way. The peer then stays down until a part
comes: on each new connection heartbeats get through until the first larger message."""
SILENCE = 3
"""The hold timer's factor meanwhile: the time to find a connection dead and to make the next."""


class PeerEvent(enum.StrEnum):
    """The events of the state machine (FSM)."""

    OUT_OF_SYNC = "a message came; the adj-RIB-in is incomplete or outdated"
    IN_SYNC = "a message came; the adj-RIB-in is complete"
    RESTART = "the peer announced that it restarts"
    GOODBYE = "the peer ended"
    HOLD_TIMER_EXPIRED = "no message came within hold_time, or restart_time after RESTART"
    REFUSED = "the peer announces a name that it must not use"
    WRONG_VERSION = "the peer uses another protocol version"


NEXT = {
    **{(state, PeerEvent.OUT_OF_SYNC): SYNCING for state in PeerState},
    # A peer that is incompatible has no adj-RIB-in: IN_SYNC there would be a bug.
    **{(state, PeerEvent.IN_SYNC): UP for state in (DOWN, SYNCING, UP, RESTARTING)},
    **{(state, PeerEvent.RESTART): RESTARTING for state in PeerState},
    **{(state, PeerEvent.GOODBYE): DOWN for state in PeerState},
    **{(state, PeerEvent.HOLD_TIMER_EXPIRED): DOWN for state in PeerState},
    **{(state, PeerEvent.REFUSED): DOWN for state in PeerState},
    **{(state, PeerEvent.WRONG_VERSION): INCOMPATIBLE for state in PeerState},
}
"""The next state, by state and event."""


random_nonce = functools.partial(secrets.token_bytes, NONCE_BYTES)


class PeerSession:
    """The session with one peer.

    *peer*: its key in everything that is returned. *name*: the node name that it has to
    announce; None (two-server form of the configuration): any but ours. *nonce*: returns
    `NONCE_BYTES` fresh random bytes. *interface*: the one that leads to it, for messages.
    """

    def __init__(
        self,
        peer: str,
        name: str | None,
        own_name: str,
        limits: PeerLimits,
        now: float,
        nonce: Callable[[], bytes] = random_nonce,
        interface: str | None = None,
    ) -> None:
        self.peer = peer
        self.node: str | None = None
        """The name that the peer announces; None before its first message."""
        self.last_accepted_name: str | None = None
        """The last name that it announced and may use; None before that."""
        self.info: NodeInfo | None = None
        """What it said of itself last, also if it is down now; None before its first heartbeat."""
        self.state = DOWN
        self.has_been_up = False
        """Whether ``state`` was UP at any time."""
        self.last_heard = -math.inf
        """When its last message came that was not refused."""
        self.has_shut_down = False
        """Whether its last message was that it ends, and is not about to restart."""
        self.topics = (UPDATES, direct_topic(own_name))
        """What to subscribe to at the peer from the start."""
        self._name = name
        self._own_name = own_name
        self._interface = interface
        self._silences = 0
        self._limits = limits
        self._adj_rib_in = AdjRibIn(peer, limits, nonce)
        self._detail = "nothing received yet"
        self._connection_problem = ""
        self._messages = self._state_changes = 0
        self._malformed = self._wrong_names = self._wrong_versions = 0
        self._accepted_name: str | None = None
        self._known_as = peer
        self._refusal_logged = False
        # True at the start: an earlier run may have left routes to this peer in the kernel.
        self._has_routes = True
        self._hold_timer_start = now
        self._last_received = -math.inf
        self._restarting_since = math.inf

    @property
    def deadline(self) -> float:
        """When `timer` is due unless a message is received before."""
        return min(self._hold_timer_expires, self._stale_at, self._adj_rib_in.request.retry_at)

    @property
    def known_as(self) -> str:
        """The peer's name in the log and in `status`."""
        return self._known_as

    @property
    def dropped(self) -> int:
        """How many messages of the peer were not used."""
        dropped = self._malformed + self._wrong_names + self._wrong_versions
        return dropped + self._adj_rib_in.over_limit

    @property
    def why(self) -> str:
        """The reason for the last change, for people."""
        return self._detail

    @property
    def connection_problem(self) -> str:
        """Why there is no connection, or empty."""
        return self._connection_problem

    def receive(self, topic: bytes, message: AnyMessage, now: float) -> PeerActions:
        """Handle *message*, received on *topic*."""
        self._messages += 1
        self.node, self._last_received, self.has_shut_down = message.node, now, False
        if message.node != self._accepted_name:
            refusal = self._why_refused(message.node)
            if refusal is not None:
                return self._refuse(refusal)
            self._accepted_name, self._refusal_logged = message.node, False
            self.last_accepted_name = message.node
            self._known_as = known_as(self.peer, message.node)
        self.last_heard = now
        if isinstance(message, Direct):
            return PeerActions(direct=message)  # it tells nothing about routes
        if isinstance(message, Goodbye):
            return self._goodbye(message, now)
        self._restarting_since = math.inf
        if isinstance(message, SnapshotPart):
            self._silences = 0
        updates = self._adj_rib_in.receive(topic, message, now)
        self._has_routes = self._has_routes or bool(updates)
        actions = self._synchronize(updates, now)
        if isinstance(message, Heartbeat):
            return attrs.evolve(actions, info=self._change_info(checked(message.info)))
        return actions

    def malformed(self, why: str) -> None:
        """Count a message that could not be decoded. It does not restart the hold timer."""
        self._messages += 1
        self._malformed += 1
        if self.state is DOWN:
            self._detail = f"malformed message: {why}"

    def incompatible(self, error: IncompatibleVersionError, now: float) -> PeerActions:
        """Handle a message of another major version: withdraw the peer's routes."""
        self._messages += 1
        self._wrong_versions += 1
        self._accepted_name, self.node, self._last_received = None, error.node, now
        return self._withdraw_all(PeerEvent.WRONG_VERSION, str(error))

    def timer(self, now: float) -> PeerActions:
        """Do what is due at *now*; call again while `deadline` is not later."""
        if now >= self._hold_timer_expires:
            return self._expire_hold_timer()
        if now >= self._stale_at:
            return self._drop_stale_routes()
        if now >= self._adj_rib_in.request.retry_at:
            return self._retry_request(now)
        return PeerActions()

    def clock_stalled(self, now: float) -> None:
        """This process was not running until *now*; restart the hold timer."""
        self._hold_timer_start = now

    def connected(self) -> None:
        """The connection to the peer is established."""
        self._connection_problem = ""

    def disconnected(self, why: str) -> None:
        """There is no connection, because of *why*. The hold timer goes on."""
        self._connection_problem = why

    def reconfigure(self, limits: PeerLimits) -> None:
        """Apply other *limits* from now on."""
        self._limits = limits
        self._adj_rib_in.reconfigure(limits)

    def status(self) -> PeerStatus:
        """The status of the peer at this moment."""
        details = (
            "" if self.state is UP else self._detail,
            self._unanswered,
            self._connection_problem,
        )
        return PeerStatus(
            peer=self.peer,
            node=self.node,
            configured=self._name,
            state=self.state,
            last_received=None if self._last_received == -math.inf else self._last_received,
            advertisements=len(self._adj_rib_in.table),
            clients=self._adj_rib_in.table.clients,
            dropped=self.dropped,
            detail="; ".join(filter(None, details)),
        )

    def counters(self) -> PeerCounters:
        """What has been counted until this moment."""
        rib = self._adj_rib_in
        return PeerCounters(
            messages=self._messages,
            dropped={
                DropReason.MALFORMED: self._malformed,
                DropReason.NAME: self._wrong_names,
                DropReason.VERSION: self._wrong_versions,
                DropReason.OVER_LIMIT: rib.over_limit,
            },
            gaps=rib.gaps,
            snapshots=rib.snapshots,
            timed_out=rib.request.timed_out,
            state_changes=self._state_changes,
        )

    @property
    def _unanswered(self) -> str:
        # over one connection a heartbeat cannot overtake what was lost before it, so it is not that
        count = self._adj_rib_in.request.unanswered
        if self.state is not SYNCING or count < MAX_SILENCES:
            return ""
        return f"{count} requests for its snapshot brought none"

    # -- the peer's name --

    def _why_refused(self, node: str) -> str | None:
        if self._name is not None and node != self._name:
            return f"announces the name {node!r}, but is configured as {self._name!r}"
        if node == self._own_name:
            return f"announces this node's own name, {node!r}"
        return None

    def _refuse(self, why: str) -> PeerActions:
        self._wrong_names += 1
        self._accepted_name = None
        actions = self._withdraw_all(PeerEvent.REFUSED, why)
        first, self._refusal_logged = not self._refusal_logged, True
        if actions.state_change is None and first:
            # DOWN before and after, but now for a reason that an administrator has to know
            return PeerActions(StateChange(self.peer, DOWN, DOWN, why), updates=actions.updates)
        return actions

    # -- changes of state --

    def _change_info(self, info: NodeInfo) -> InfoChange | None:
        old, self.info = self.info, info
        return None if info == old else InfoChange(old, info)

    def _synchronize(self, updates: tuple[PeerUpdate, ...], now: float) -> PeerActions:
        """Start or end the request for a snapshot, as the adj-RIB-in needs it."""
        rib, request = self._adj_rib_in, self._adj_rib_in.request
        if not rib.snapshot_needed:
            self._silences = 0
        if self._only_small_messages:
            change = None
            self._detail = only_small_messages(self._interface)
        else:
            event = PeerEvent.IN_SYNC if rib.in_sync else PeerEvent.OUT_OF_SYNC
            change = self._change_state(event, rib.why)
        if not rib.snapshot_needed:
            return PeerActions(change, unsubscribe=_topics(request.cancel()), updates=updates)
        if request.topic is not None:
            return PeerActions(change, updates=updates)
        return PeerActions(change, subscribe=(request.start(now),), updates=updates)

    def _goodbye(self, goodbye: Goodbye, now: float) -> PeerActions:
        if not goodbye.restarting:
            self.has_shut_down = True
            return self._withdraw_all(PeerEvent.GOODBYE, "it shut down")
        self._silences = 0
        self._restarting_since = now
        topic = self._adj_rib_in.request.cancel()
        change = self._change_state(PeerEvent.RESTART, "it announced a restart")
        return PeerActions(change, unsubscribe=_topics(topic))

    def _retry_request(self, now: float) -> PeerActions:
        old = self._adj_rib_in.request.topic
        return PeerActions(None, (self._adj_rib_in.request.start(now),), _topics(old))

    def _drop_stale_routes(self) -> PeerActions:
        """Withdraw the routes of the peer's last epoch. The peer itself is alive."""
        self._has_routes = False
        self._adj_rib_in.clear()
        why = f"no snapshot since its restart {self._limits.restart_time:g} s ago"
        return PeerActions(updates=(PeerLost(self.peer, why),))

    def _withdraw_all(self, event: PeerEvent, why: str) -> PeerActions:
        """Withdraw all routes of the peer."""
        updates = (PeerLost(self.peer, why),) if self._has_routes else ()
        self._has_routes = False
        self._restarting_since = math.inf
        self._silences = 0
        topic = self._adj_rib_in.reset()
        change = self._change_state(event, why)
        return PeerActions(change, unsubscribe=_topics(topic), updates=updates)

    def _change_state(self, event: PeerEvent, why: str) -> StateChange | None:
        """Apply *event*. The only place where ``state`` changes."""
        old, self.state = self.state, NEXT[self.state, event]
        self.has_been_up |= self.state is UP
        self._detail = why
        if self.state is old:
            return None
        self._state_changes += 1
        return StateChange(self.peer, old, self.state, why)

    # -- timers --

    def _expire_hold_timer(self) -> PeerActions:
        """Withdraw the peer's routes, and see whether only a larger message was lost."""
        waiting = self.state is SYNCING and self._adj_rib_in.request.topic is not None
        silences = self._silences + 1 if waiting else 0
        if silences < MAX_SILENCES:
            why = self._why_expired()
        else:
            why = only_small_messages(self._interface)
        actions = self._withdraw_all(PeerEvent.HOLD_TIMER_EXPIRED, why)
        self._silences = silences
        return actions

    @property
    def _only_small_messages(self) -> bool:
        """Whether the peer is down because nothing larger than a heartbeat comes."""
        return self.state is DOWN and self._silences >= MAX_SILENCES

    @property
    def _hold_timer_expires(self) -> float:
        if self._only_small_messages:
            last = max(self._last_received, self._hold_timer_start)
            return last + SILENCE * self._limits.hold_time
        if self.state is DOWN and not self._has_routes:
            return math.inf
        expires = max(self._last_received, self._hold_timer_start) + self._limits.hold_time
        if self.state is not RESTARTING:
            return expires
        return max(expires, self._restarting_since + self._limits.restart_time)

    @property
    def _stale_at(self) -> float:
        if not self._has_routes:
            return math.inf
        return self._adj_rib_in.stale_since + self._limits.restart_time

    def _why_expired(self) -> str:
        if self.state is RESTARTING:
            return f"it did not come back within {self._limits.restart_time:g} s"
        if self._only_small_messages:
            return f"nothing received for {SILENCE * self._limits.hold_time:g} s"
        return f"nothing received for {self._limits.hold_time:g} s"


def _topics(topic: bytes | None) -> tuple[bytes, ...]:
    return () if topic is None else (topic,)
