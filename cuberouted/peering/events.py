"""What the state machines of this package return: route updates, state changes, actions, status.

Values only.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

import attrs

from cuberouted.model import Advertisement, NodeInfo, Prefix
from cuberouted.peering.messages import Direct


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


class DropReason(enum.StrEnum):
    """Why a message was not used. NAME: the peer must not use the name that it announces."""

    MALFORMED = "malformed"
    NAME = "name"
    VERSION = "version"
    OVER_LIMIT = "over_limit"


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


@attrs.frozen
class InfoChange:
    """What a peer says of itself has changed. ``old``: None before its first heartbeat."""

    old: NodeInfo | None
    new: NodeInfo


class Outgoing(NamedTuple):
    """A message to publish as it is."""

    topic: bytes
    payload: bytes


@attrs.frozen
class PeerActions:
    """What a state machine wants done, in the order of the fields.

    ``subscribe`` and ``unsubscribe``: topics at the peer. A peer takes an unsubscription from the
    topic that was requested last for "received", so the next one comes before. ``publish``:
    messages of our own publishing socket. ``updates``: for the RIB. ``direct``: a message to this
    node alone. ``info``: what the peer says of itself now.
    """

    state_change: StateChange | None = None
    subscribe: tuple[bytes, ...] = ()
    unsubscribe: tuple[bytes, ...] = ()
    publish: tuple[Outgoing, ...] = ()
    updates: tuple[PeerUpdate, ...] = ()
    direct: Direct | None = None
    info: InfoChange | None = None


def known_as(peer: str, node: str | None) -> str:
    """*peer* for people: its key, and before it the name that it announces, if that differs.

    The log and the commands use the same, so that each can be searched for the other's.
    """
    return peer if node is None or node == peer else f"{node} ({peer})"


def only_small_messages(interface: str | None) -> str:
    """What a peer's heartbeats without its snapshots say of the way here."""
    return f"heartbeats come, larger messages do not: {_mtu(interface)}"


def not_received(count: int, interface: str | None) -> str:
    """What *count* connections that ended before the peer had our snapshot say of the way there."""
    return (
        f"{count} connections ended before it had received our snapshot;"
        f" larger messages do not reach it: {_mtu(interface)}"
    )


def _mtu(interface: str | None) -> str:
    return f"is the MTU of {interface or 'the tunnel'} right?"


@attrs.frozen
class PeerLimits:
    """Timers (seconds) and limits that apply to every peer."""

    hold_time: float
    restart_time: float
    max_advertisements: int


@attrs.frozen
class PeerCounters:
    """What was counted since the session was made.

    ``messages``: all that were received. ``dropped``: those that were not used. ``gaps``: how often
    updates were lost. ``snapshots``: complete ones. ``timed_out``: requests for a snapshot that
    brought none.
    """

    messages: int
    dropped: Mapping[DropReason, int]
    gaps: int
    snapshots: int
    timed_out: int
    state_changes: int


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
