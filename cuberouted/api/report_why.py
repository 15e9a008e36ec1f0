"""What `cuberouted why` reports, as values; ``--json`` prints a `Why`.

Pure. Times are in seconds; absolute times are ISO 8601 UTC.
"""

from __future__ import annotations

import msgspec


class WhyClaim(msgspec.Struct):
    """A route that a node offers to the address, or to a network around it.

    ``source``: "local", "peer", "configured" or "kernel" (adopted at the start).
    ``best``: the kernel's route should follow this one. ``why``: why it does not; empty for the
    best. ``refused``: the policy does not accept it. ``phase``, ``priority``: of a claim to a
    service (kind "service"), what the node is to it (`service_claim.ServicePhase`).
    """

    prefix: str
    node: str
    name: str
    kind: str
    source: str
    since: str | None
    confirmed: bool
    best: bool
    refused: bool
    why: str
    phase: str = ""
    priority: int | None = None


class WhyRoute(msgspec.Struct):
    """A route in the kernel to the address or a network around it.

    ``text``: as `ip route` prints it. ``owner``: "cuberouted", "kernel", "openvpn" (it leads to
    the device of an OpenVPN process here, and may be another program's) or "foreign".
    ``used``: packets from this host follow it. ``age``: seconds since we installed it.
    ``trace``: what last became of ours (`events.RouteTrace`), at ``traced``; empty if unknown.
    """

    text: str
    owner: str
    used: bool
    age: float | None = None
    trace: str = ""
    traced: str | None = None


class WhyLookup(msgspec.Struct):
    """What the kernel does with a packet.

    ``origin``: the interface where it comes in, from ``source``; empty: a packet of this host.
    ``text``: the route, or why there is none. ``right``: it goes where the client is.
    """

    origin: str
    source: str
    text: str
    interface: str | None
    gateway: str | None
    right: bool


class WhyPeer(msgspec.Struct):
    """The peer to which the packets go. ``last_heard``: seconds since its last message."""

    name: str
    state: str
    last_heard: float | None
    detail: str
    interface: str
    mgmt_ip: str
    data_ip: str | None


class WhyPing(msgspec.Struct):
    """Packets of ``size`` bytes (with the IP header) to ``address``, and how many were answered.

    ``what``: "peer" or "client". ``rtt``: median seconds, None without an answer. ``problem``:
    why it could not be tried, or why nothing was sent.
    """

    address: str
    what: str
    interface: str
    size: int
    sent: int
    received: int
    rtt: float | None = None
    problem: str = ""


class WhyAddress(msgspec.Struct):
    """One address or network. ``reached``: packets to it get there, as far as can be seen.

    ``verdict``: where they go, or why they do not get there. ``advice``: what to do, or empty.
    ``notes``: what else to know. ``rules``: the policy rules, besides those of every Linux host.
    """

    address: str
    reached: bool
    verdict: str
    advice: str
    notes: list[str] = []
    claims: list[WhyClaim] = []
    routes: list[WhyRoute] = []
    rules: list[str] = []
    lookups: list[WhyLookup] = []
    peer: WhyPeer | None = None
    pings: list[WhyPing] = []


class WhyMatch(msgspec.Struct):
    """One of several addresses that a name has, or a name that is like the one asked for."""

    address: str
    name: str
    node: str


class Why(msgspec.Struct):
    """`cuberouted why --json`.

    ``target``: what was asked for. ``addresses``: what is known of each of its addresses.
    ``matches``: instead, if there are too many, or for an unknown name those that are like it.
    ``node`` is None if the daemon does not run; then only the kernel was asked.
    """

    target: str
    node: str | None
    reached: bool
    verdict: str
    advice: str = ""
    addresses: list[WhyAddress] = []
    matches: list[WhyMatch] = []
