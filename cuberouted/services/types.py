"""What the decision about a service is made from, and what it asks for."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

import attrs

from cuberouted.events import Event
from cuberouted.service_claim import ServiceClaim


class Program(enum.StrEnum):
    """The commands of a ``[service NAME]`` section."""

    CHECK = "check"
    FENCE = "fence"
    ON_ACQUIRE = "on_acquire"
    ON_RELEASE = "on_release"


@attrs.frozen
class PeerView:
    """A configured peer, as this node hears it.

    ``name``: that of its node. ``heard``: its claims are known and current (the session is up).
    ``pending``: it is there, but its claims are not known yet. ``last_heard``: monotonic seconds of
    its last message. ``gone``: it has said goodbye, so it has no address.
    """

    name: str
    heard: bool = False
    pending: bool = False
    last_heard: float = -math.inf
    gone: bool = False


@attrs.frozen
class View:
    """What this node knows when it decides about one service.

    ``claims``: those of the other nodes, by node. ``peers``: all configured ones. ``settled``:
    every peer was up since the start, or hold_time is over. ``available``: this node is active,
    neither draining nor in maintenance. ``has_address``: the address is on the interface.
    ``witness_time``: seconds that a peer counts as a witness after its last message: hold_time -
    heartbeat_interval. ``address_error``: why the address cannot be added or removed, until that is
    tried again; or empty.
    """

    witness_time: float = attrs.field(kw_only=True)
    claims: Mapping[str, ServiceClaim] = attrs.field(factory=dict)
    peers: tuple[PeerView, ...] = ()
    settled: bool = True
    available: bool = True
    has_address: bool = False
    address_error: str = ""


@attrs.frozen
class Run:
    """Run this command of the section. ``peer``: the node that ``fence`` is about, or empty."""

    program: Program
    peer: str = ""


@attrs.frozen
class ServiceActions:
    """What to do, in the order of the fields.

    ``address``: whether it should be on the interface, at every look: adding one that is there is
    no work. ``claim``: what to advertise. ``run``: a command to start; `ServiceMachine.ended` is
    called when it has ended. At most one runs, besides the check. ``kill``: kill the one that runs;
    `ended` is called all the same. ``events``: to publish.
    """

    address: bool
    claim: ServiceClaim
    run: Run | None = None
    kill: bool = False
    events: tuple[Event, ...] = ()
