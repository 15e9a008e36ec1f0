"""What `why` collects of an address before it is judged: the mesh's part and the kernel's. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import attrs

from cuberouted.events import RouteTrace
from cuberouted.model import Prefix
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.rib import Claim
from cuberouted.routing.types import ForeignRoute, RouteLookup, Rule


@attrs.frozen
class Probe:
    """A packet that the kernel was asked about.

    ``device``: the interface where it comes in, from ``source``; 0: a packet of this host.
    """

    result: RouteLookup
    device: int = 0
    source: bytes | None = None


@attrs.frozen
class OwnRoute:
    """A route with our protocol. ``age``: seconds since we installed it, None if unknown.

    ``trace``: what last became of it, and when; None if that is not known any more.
    """

    route: ForeignRoute
    age: float | None = None
    trace: tuple[RouteTrace, dt.datetime] | None = None


@attrs.frozen
class KernelFacts:
    """The kernel's part of ``prefix``: the routes to it and around it, rules and lookups.

    ``devices``: names of the interfaces by index; ``indexes``: the reverse, with alternative names
    also; ``running``: those that are up. ``data_devices``: those of this host's OpenVPN processes.
    ``own``: our routes, the longest first. ``foreign``: all others, as the kernel would take them.
    ``rules``: of the family, in order. ``probes``: the first is of this host itself.
    """

    prefix: Prefix
    devices: Mapping[int, str]
    indexes: Mapping[str, int]
    running: AbstractSet[int]
    data_devices: AbstractSet[int]
    table: int
    protocol: int
    own: Sequence[OwnRoute] = ()
    foreign: Sequence[ForeignRoute] = ()
    rules: Sequence[Rule] = ()
    probes: Sequence[Probe] = ()

    def name(self, index: int | None) -> str | None:
        """The name of an interface; None without one."""
        return None if index is None else self.devices.get(index, f"if{index}")


@attrs.frozen
class PeerFacts:
    """A peer. ``name`` is its node's, ``known_as`` what `status` calls it.

    ``last_heard``: seconds since its last message. ``problem``: why it gets no routes, or empty.
    """

    name: str
    known_as: str
    state: str
    last_heard: float | None
    detail: str
    interface: str
    mgmt_ip: bytes
    data_ip: bytes | None
    problem: str = ""


@attrs.frozen
class MeshFacts:
    """The daemon's part: the claims on the prefix and on networks around it, the longest first.

    ``now``: Unix seconds. ``nexthop``: where the best of the claims leads, None: nowhere now.
    ``pending``: the kernel does not have what the RIB has yet. ``interface``: the configured one
    to which the best claim should lead. ``peer``: the one that has the best claim, or whose
    management address is asked for. ``openvpn``: the state of the OpenVPN process of the best
    claim, if that is here. ``unheard``: peers whose clients are not known now. ``asked``: the
    common name, if a name was asked for.
    """

    now: float
    claims: Sequence[Claim] = ()
    nexthop: ResolvedNexthop | None = None
    pending: bool = False
    interface: str = ""
    peer: PeerFacts | None = None
    openvpn: str = "connected"
    unheard: Sequence[PeerFacts] = ()
    allowed: Sequence[Prefix] = ()
    asked: bytes | None = None

    @property
    def best(self) -> Claim | None:
        """The claim that the kernel's route should follow: the longest, and the best of those."""
        return next((claim for claim in self.claims if not claim.refused), None)


def destination(prefix: Prefix) -> bytes:
    """The address of *prefix* that a lookup is made for: itself, or the first one inside."""
    if prefix.is_host:
        return prefix.address
    return (int.from_bytes(prefix.address) + 1).to_bytes(len(prefix.address))
