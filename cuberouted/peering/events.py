"""What the sharing room tells: news of a peer's routes, its state, its status. Values only."""

from __future__ import annotations

import enum

import attrs

from cuberouted.model import Advertisement, Prefix


class PeerState(enum.StrEnum):
    """What we make of a peer.

    DOWN: not heard, or refused. SYNCING: heard, but what we know of its routes is not
    complete, or not current. UP: all is known. RESTARTING: it said that it would be back.
    INCOMPATIBLE: it speaks another protocol version.
    """

    DOWN = "down"
    SYNCING = "syncing"
    UP = "up"
    RESTARTING = "restarting"
    INCOMPATIBLE = "incompatible"


@attrs.frozen
class RoutesChanged:
    """Changes to what *peer* advertises; ``node`` is the name it announces.

    Withdraw first: a prefix that is in both is advertised.
    """

    peer: str
    node: str
    advertise: tuple[Advertisement, ...]
    withdraw: tuple[Prefix, ...]


@attrs.frozen
class RoutesReplaced:
    """All that *peer* advertises, in place of everything known of it before."""

    peer: str
    node: str
    advertisements: tuple[Advertisement, ...]


@attrs.frozen
class PeerLost:
    """Everything of *peer* is to be withdrawn, also what an earlier run of ours installed."""

    peer: str
    why: str


PeerUpdate = RoutesChanged | RoutesReplaced | PeerLost


@attrs.frozen
class StateChange:
    """A change of state worth a line in the log. ``old`` is ``new`` for a peer newly refused."""

    peer: str
    old: PeerState
    new: PeerState
    why: str


@attrs.frozen
class SessionActions:
    """What follows from one event, to be carried out in the order of the fields."""

    moved: StateChange | None = None
    unsubscribe: tuple[bytes, ...] = ()
    subscribe: tuple[bytes, ...] = ()
    news: tuple[PeerUpdate, ...] = ()


@attrs.frozen
class PeerLimits:
    """What is asked of every peer. Times in seconds."""

    hold_time: float
    restart_time: float
    max_advertisements: int


@attrs.frozen
class PeerStatus:
    """One peer, for people.

    ``peer``: its key; ``configured``: the name the configuration gives it, or None;
    ``node``: the name it announces, or None before it was heard. ``last_heard``: monotonic
    seconds, or None. ``refused``: messages that were not used. ``detail``: why it is not
    up, in plain words; empty where there is nothing to say.
    """

    peer: str
    node: str | None
    configured: str | None
    state: PeerState
    last_heard: float | None
    advertisements: int
    clients: int
    refused: int
    detail: str
