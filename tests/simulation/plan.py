"""What a seed makes of a run: the mesh, its settings, who connects, and what goes wrong.

Pure. Each seed enables some kinds of faults only (swarm testing: Groce et al., ISSTA 2012):
where everything goes wrong all the time, most of what is promised is never due.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

T = TypeVar("T")

NAMES = "ABCDE"
CLIENT_NETWORK = "10.100.100.0/24"
WIDE = (CLIENT_NETWORK, "192.168.0.0/16", "fd00:100::/64")
HOUR = 3600


@attrs.frozen
class NodePlan:
    """One server. ``wide``: it believes in networks behind clients and in IPv6 too.

    ``lag``: seconds that its OpenVPN takes for each command, even when it is well.
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


@attrs.frozen
class DevicePlan:
    """Something that connects with a certificate: two devices may share one, or an address."""

    label: str
    name: bytes
    address: str
    address6: str = ""
    networks: tuple[str, ...] = ()


@attrs.frozen
class Plan:
    """A run. Times are seconds; ``kinds``: the faults that may happen, by name."""

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
        """Whether several live devices may claim one address."""
        addresses = [device.address for device in self.devices]
        return len(set(addresses)) < len(addresses)


def plan(seed: int, kinds: Mapping[str, Sequence[str]]) -> Plan:
    """The run of *seed*, where *kinds* of faults are known, by their theme."""
    dice = random.Random(seed)  # also by other processes: of int alone
    hold = dice.choice((1.5, 3.0, 6.0, 6.0))
    return Plan(
        seed=seed,
        nodes=_nodes(dice, hold),
        devices=_devices(dice),
        kinds=_some(dice, kinds),
        duration=dice.choice((40.0, 80.0, 160.0)),
        pause=dice.choice((0.3, 1.0, 3.0)),
        hold_time=hold,
        heartbeat_interval=hold / 3,
        restart_time=dice.choice((10.0, 30.0)),
        poll_interval=dice.choice((1.0, 1.0, 3.0)),
        status_interval=dice.choice((10.0, 30.0)),
        ping_restart=dice.choice((10.0, 30.0, 60.0)),
        data_ips=dice.random() < 0.5,
    )


def _some(dice: random.Random, kinds: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    known = sorted(kind for theme in kinds.values() for kind in theme)
    if dice.random() < 0.4:
        known = sorted(kinds[dice.choice(sorted(kinds))])
    share = dice.choice((0.2, 0.5, 1.0))
    return tuple(kind for kind in known if dice.random() < share)


def _nodes(dice: random.Random, hold_time: float) -> tuple[NodePlan, ...]:
    skewed = dice.random() < 0.5
    return tuple(
        NodePlan(
            name=name,
            table=dice.choice((254, 254, 100)),
            wide=dice.random() < 0.7,
            keep=dice.random() < 0.5,
            kill_superseded=dice.random() < 0.7,
            duplicate_cn=dice.random() < 0.1,
            skew=dice.uniform(-5, 5) * HOUR if skewed else 0.0,
            version=dice.choice(("2.4", "2.6", "2.7")),
            lag=dice.choice((0.0, 0.0, 0.01, hold_time / 15)),
        )
        for name in NAMES[: dice.choice((2, 2, 3, 3, 3, 4, 5))]
    )


def _devices(dice: random.Random) -> tuple[DevicePlan, ...]:
    return (
        *(_device(dice, number) for number in range(dice.randint(3, 10))),
        *(_rivals(dice, 200, "one certificate", "thief") if dice.random() < 0.2 else ()),
        *(_rivals(dice, 210, "one address", "other") if dice.random() < 0.2 else ()),
    )


def _device(dice: random.Random, number: int) -> DevicePlan:
    name = dice.choice((b"host%d", b"Name, %d", b'"END" %d', b"a:b:%d", b"caf\xc3\xa9 %d")) % number
    return DevicePlan(
        label=f"device{number}",
        name=name,
        address=f"10.100.100.{11 + number}",
        address6=f"fd00:100::{11 + number:x}" if dice.random() < 0.3 else "",
        networks=(f"192.168.{number}.0/24",) if dice.random() < 0.3 else (),
    )


def _rivals(dice: random.Random, number: int, what: str, other: str) -> list[DevicePlan]:
    """Two live devices that claim one address, by *what* they share."""
    address = f"10.100.100.{number}"
    first = DevicePlan(f"rival{number}", b"rival%d" % number, address)
    name = first.name if what == "one certificate" else b"other%d" % number
    return [first, DevicePlan(f"{other}{number}", name, address)]
