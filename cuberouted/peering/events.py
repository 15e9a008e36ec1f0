"""What the state machines of this package return: route updates, state changes, actions, status.

Values only.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import attrs

from cuberouted.model import Advertisement, Prefix


class PeerState(enum.StrEnum):
    """The state of a peer.

    DOWN: nothing received within hold_time, or refused. SYNCING: messages arrive, but our
    adj-RIB-in is incomplete or outdated. UP: our adj-RIB-in is complete. RESTARTING: the peer
    announced a restart. INCOMPATIBLE: the peer uses another protocol version.
    """

    DOWN = "down"
    SYNCING = "syncing"
    UP = "up"
    RESTARTING = "restarting"
    INCOMPATIBLE = "incompatible"


@attrs.frozen
class RoutesChanged:
    """Changes to what *peer* advertises; ``node`` is the name it announces.

    Withdraw first: a prefix in both is advertised.
    """

    peer: str
    node: str
    advertise: tuple[Advertisement, ...]
    withdraw: tuple[Prefix, ...]


@attrs.frozen
class RoutesReplaced:
    """Everything that *peer* advertises. Routes of it that are not in here are withdrawn."""

    peer: str
    node: str
    advertisements: tuple[Advertisement, ...]


@attrs.frozen
class PeerLost:
    """All routes of *peer* are withdrawn, adopted routes of an earlier run included."""

    peer: str
    why: str


PeerUpdate = RoutesChanged | RoutesReplaced | PeerLost


@attrs.frozen
class StateChange:
    """A change of state to log. ``old`` equals ``new`` where a peer that was down is refused."""

    peer: str
    old: PeerState
    new: PeerState
    why: str


class Outgoing(NamedTuple):
    """A message to publish as it is."""

    topic: bytes
    payload: bytes


@attrs.frozen
class PeerActions:
    """What a state machine wants done, in the order of the fields.

    ``unsubscribe`` and ``subscribe``: topics at the peer. ``publish``: messages of our own
    publishing socket. ``updates``: for the RIB.
    """

    state_change: StateChange | None = None
    unsubscribe: tuple[bytes, ...] = ()
    subscribe: tuple[bytes, ...] = ()
    publish: tuple[Outgoing, ...] = ()
    updates: tuple[PeerUpdate, ...] = ()


@attrs.frozen
class PeerLimits:
    """Timers (seconds) and limits that apply to every peer."""

    hold_time: float
    restart_time: float
    max_advertisements: int


@attrs.frozen
class PeerStatus:
    """A snapshot of one peer, for the status command and for tests.

    ``peer``: its key; ``configured``: the name that the configuration gives it, or None;
    ``node``: the name it announces, or None before its first message. ``last_received``:
    monotonic seconds, or None. ``dropped``: messages that were not used. ``detail``: why the
    peer is not up; empty if there is nothing to report.
    """

    peer: str
    node: str | None
    configured: str | None
    state: PeerState
    last_received: float | None
    advertisements: int
    clients: int
    dropped: int
    detail: str
