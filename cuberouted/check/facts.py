"""The facts about this host that the rules of `check` judge. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from cuberouted.api.report import Status
from cuberouted.daemon.host import HostState
from cuberouted.routing.types import Link

CREDENTIALS = Path("/run/credentials")
"""Where systemd puts the files of LoadCredential= while the unit runs."""


@attrs.frozen
class User:
    """A user that the daemon runs as, with its primary and all its groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


@attrs.frozen
class FilterChain:
    """A chain of a packet filter that sees every forwarded packet and drops some.

    ``family``: ip, ip6 or inet. ``why``: what drops them.
    """

    family: str
    table: str
    name: str
    why: str


@attrs.frozen
class HostFacts:
    """What was found on this host.

    ``missing_capability``: one that the daemon would lack. ``sysctls``: by path below /proc/sys,
    None if it does not exist. ``openvpn``: by the name of the OpenVPN process,
    why its management interface or status file is not there, or None. ``exposed``: by the same
    name, how others can reach its management interface. ``busy``: listen addresses whose port is
    taken, and the error. ``busy_unseen``: the same, where this user may not see by which program.
    ``own_ports``: listen addresses whose port cuberouted itself has taken.
    ``unreadable``: what is configured and cannot be used, and why. ``unjudged``: files that this
    user may not look at, and why. ``unit``: why the systemd unit cannot run cuberouted, or None.
    ``filters``: chains that drop forwarded packets, None if this user may not see them.
    ``filters_unseen``: packet filters that nobody could look at, and why.
    ``elsewhere``: by the name of the OpenVPN process, where it is if not on this host.
    ``networkd``: keys that systemd-networkd's configuration lacks, None if it does not run.
    ``networkd_links``: interfaces on which it removes nexthop objects whatever its configuration.
    ``daemon``: whether cuberouted runs with this control socket. ``reported``: its status,
    or why it does not answer. ``daemon_hidden``: why this user may not ask it, or None.
    ``public_key``: ours, if there is a secret key.
    """

    links: tuple[Link, ...]
    host: HostState
    missing_capability: str | None
    sysctls: Mapping[str, str | None]
    openvpn: Mapping[str, str | None]
    busy: Mapping[str, str]
    unreadable: Mapping[Path, str]
    daemon: bool
    public_key: str | None = None
    exposed: Mapping[str, str] = attrs.field(factory=dict)
    own_ports: Mapping[str, str] = attrs.field(factory=dict)
    busy_unseen: Mapping[str, str] = attrs.field(factory=dict)
    elsewhere: Mapping[str, str] = attrs.field(factory=dict)
    unjudged: Mapping[Path, str] = attrs.field(factory=dict)
    unit: str | None = None
    filters: tuple[FilterChain, ...] | None = ()
    filters_unseen: tuple[str, ...] = ()
    networkd: tuple[str, ...] | None = None
    networkd_links: frozenset[str] = frozenset()
    reported: Status | str | None = None
    daemon_hidden: str | None = None
