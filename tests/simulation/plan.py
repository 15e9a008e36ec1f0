"""Generates a run from its seed: the mesh, its settings, the clients, the kinds of faults.

Pure. Each seed enables some kinds of faults only (swarm testing: Groce et al., ISSTA 2012):
with all of them at once, most invariants would be suspended most of the time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

from tests.simulation.service_plan import ServicePlan, service_plans

T = TypeVar("T")

NAMES = "ABCDE"
CLIENT_NETWORK = "10.100.100.0/24"
WIDE = (CLIENT_NETWORK, "192.168.0.0/16", "fd00:100::/64")
HOUR = 3600

NETWORKS = (
    *("192.168.0.0/16", "192.168.0.0/20", "192.168.1.0/24", "192.168.1.0/28", "192.168.1.8/29"),
    *("192.168.2.0/24", "10.100.100.0/26", "10.100.100.8/29", "10.100.100.16/28"),
    *("fd00:100::/112", "fd00:100::8/125", "fd00:100::10/124"),
)
"""Networks behind clients. They lie inside each other, and clients' addresses inside them."""


@attrs.frozen
class NodePlan:
    """One server. ``wide``: its allowed_networks contain IPv6 and networks behind clients.

    ``lag``: seconds that its OpenVPN takes for each command, without a fault. ``own_routes``:
    OpenVPN's own `route` for networks behind clients, in the main table.
    """

    name: str
    table: int
    wide: bool
    keep: bool
    kill_superseded: bool
    duplicate_cn: bool
    skew: float
    version: str
    lag: float
    own_routes: tuple[str, ...]


@attrs.frozen
class DevicePlan:
    """A client; two devices may have the same certificate, or the same address.

    ``fixed_port``: OpenVPN goes on with its session where it still lists one.
    """

    label: str
    name: bytes
    address: str
    address6: str = ""
    networks: tuple[str, ...] = ()
    fixed_port: bool = False


@attrs.frozen
class Plan:
    """A run. Times are seconds; ``kinds``: the faults that may happen, by name.

    ``is_about_services``: only faults of services may happen.
    """

    seed: int
    nodes: tuple[NodePlan, ...]
    devices: tuple[DevicePlan, ...]
    kinds: tuple[str, ...]
    duration: float
    pause: float
    hold_time: float
    heartbeat_interval: float
    restart_time: float
    poll_interval: float
    status_interval: float
    ping_restart: float
    data_ips: bool
    services: tuple[ServicePlan, ...]
    is_about_services: bool

    @property
    def settings(self) -> list[str]:
        """The lines of every node's configuration."""
        return [
            f"hold_time = {self.hold_time}",
            f"heartbeat_interval = {self.heartbeat_interval}",
            f"restart_time = {self.restart_time}",
            f"poll_interval = {self.poll_interval}",
            f"status_interval = {self.status_interval}",
        ]

    @property
    def several_live(self) -> bool:
        """Whether several live devices may have one address."""
        addresses = [device.address for device in self.devices]
        return len(set(addresses)) < len(addresses)


def plan(seed: int, kinds: Mapping[str, Sequence[str]]) -> Plan:
    """The run of *seed*; *kinds*: all kinds of faults, by theme."""
    rng = random.Random(seed)  # seeded with an int, so that other processes repeat it
    hold = rng.choice((1.5, 3.0, 6.0, 6.0))
    nodes = _nodes(rng, hold)
    is_about_services = all(theme.endswith(".services") for theme in kinds)
    return Plan(
        seed=seed,
        nodes=nodes,
        devices=_devices(rng),
        kinds=_some(rng, kinds),
        duration=rng.choice((40.0, 40.0, 40.0) if is_about_services else (40.0, 80.0, 160.0)),
        pause=rng.choice((0.3, 1.0, 3.0)),
        hold_time=hold,
        heartbeat_interval=hold / 3,
        restart_time=rng.choice((10.0, 30.0)),
        poll_interval=rng.choice((1.0, 1.0, 3.0)),
        status_interval=rng.choice((10.0, 30.0)),
        ping_restart=rng.choice((10.0, 30.0, 60.0)),
        data_ips=rng.random() < 0.5,
        services=service_plans(seed, [node.name for node in nodes]),
        is_about_services=is_about_services,
    )


def _some(rng: random.Random, kinds: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    known = sorted(kind for theme in kinds.values() for kind in theme)
    if rng.random() < 0.4:
        known = sorted(kinds[rng.choice(sorted(kinds))])
    share = rng.choice((0.2, 0.5, 1.0))
    return tuple(kind for kind in known if rng.random() < share)


def _nodes(rng: random.Random, hold_time: float) -> tuple[NodePlan, ...]:
    skewed = rng.random() < 0.5
    own_routes = tuple(network for network in NETWORKS if rng.random() < 0.5)
    return tuple(
        NodePlan(
            name=name,
            table=rng.choice((254, 254, 100)),
            wide=rng.random() < 0.7,
            keep=rng.random() < 0.5,
            kill_superseded=rng.random() < 0.7,
            duplicate_cn=rng.random() < 0.1,
            skew=rng.uniform(-5, 5) * HOUR if skewed else 0.0,
            version=rng.choice(("2.4", "2.6", "2.7")),
            lag=rng.choice((0.0, 0.0, 0.01, hold_time / 15)),
            own_routes=own_routes if rng.random() < 0.7 else (),
        )
        for name in NAMES[: rng.choice((2, 2, 3, 3, 3, 4, 5))]
    )


def _devices(rng: random.Random) -> tuple[DevicePlan, ...]:
    networks = list(NETWORKS)
    rng.shuffle(networks)
    return (
        *(_device(rng, number, networks) for number in range(rng.randint(3, 10))),
        *(_rivals(rng, 200, "one certificate", "thief") if rng.random() < 0.2 else ()),
        *(_rivals(rng, 210, "one address", "other") if rng.random() < 0.2 else ()),
    )


def _device(rng: random.Random, number: int, free: list[str]) -> DevicePlan:
    """A client; it may take some of the *free* networks."""
    count = rng.choice((0, 0, 0, 1, 1, 2))
    networks, free[:count] = tuple(free[:count]), ()
    name = rng.choice((b"host%d", b"Name, %d", b'"END" %d', b"a:b:%d", b"caf\xc3\xa9 %d")) % number
    return DevicePlan(
        label=f"device{number}",
        name=name,
        address=f"10.100.100.{11 + number}",
        address6=f"fd00:100::{11 + number:x}" if rng.random() < 0.3 else "",
        networks=networks,
        fixed_port=rng.random() < 0.4,
    )


def _rivals(rng: random.Random, number: int, what: str, other: str) -> list[DevicePlan]:
    """Two live devices with one address, and with one certificate if *what* says so."""
    address = f"10.100.100.{number}"
    first = DevicePlan(f"rival{number}", b"rival%d" % number, address)
    name = first.name if what == "one certificate" else b"other%d" % number
    return [first, DevicePlan(f"{other}{number}", name, address)]
