"""The facts about this host that the rules of `check` judge. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from cuberouted.api.report import Status
from cuberouted.check.finding import reported_name
from cuberouted.check.packet_filter import Ruleset
from cuberouted.config import OpenVPNConfig
from cuberouted.daemon.host import HostState
from cuberouted.openvpn.config_file import OpenVPNOptions
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
class Holder:
    """A program that is connected to a management interface: unix(7) or TCP.

    ``listens``: the addresses on which it listens itself, as `cuberouted` would be configured.
    """

    program: str
    pid: int
    listens: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.program} (process {self.pid})"


@attrs.frozen
class ClientFiles:
    """The files of OpenVPN's ``client-config-dir``.

    ``names``: of the clients. ``fixed``: those with ``ifconfig-push``. ``fixed6``: those with
    ``ifconfig-ipv6-push``. ``addresses``: the names by the fixed addresses, packed.
    """

    directory: Path
    names: frozenset[str]
    fixed: frozenset[str]
    fixed6: frozenset[str]
    addresses: Mapping[bytes, str] = attrs.field(factory=dict)


@attrs.frozen
class ServerFacts:
    """What was found of one OpenVPN process.

    ``options``: its own configuration, or why that is not known. ``clients``: the files of its
    clients, None if there are none or they are not known. ``version``: its first line of
    ``--version``, empty if it is not known. ``holders``: other programs than cuberouted that are
    connected to its management interface. ``held``: whether there is any connection, None if that
    is not known.
    """

    options: OpenVPNOptions | str
    clients: ClientFiles | None = None
    version: str = ""
    holders: tuple[Holder, ...] = ()
    held: bool | None = False


@attrs.frozen
class Device:
    """What kind of interface it is (``tun``, ``wireguard``, ``ovpn-dco``; empty: a real one), and
    the size of the largest packet that it carries, in bytes.
    """

    kind: str
    mtu: int


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
    user may not look at, and why. ``unpassed``: files that systemd would not make for the daemon,
    why, and what to do. ``unit``: why the systemd unit cannot run cuberouted, or None.
    ``filters``: the packet filters, None if this user may not see them.
    ``filters_unseen``: packet filters that nobody could look at, and why.
    ``elsewhere``: by the name of the OpenVPN process, where it is if not on this host.
    ``networkd``: keys that systemd-networkd's configuration lacks, None if it does not run.
    ``networkd_links``: interfaces on which it removes nexthop objects whatever its configuration.
    ``daemon``: whether cuberouted runs with this control socket. ``reported``: its status,
    or why it does not answer. ``daemon_hidden``: why this user may not ask it, or None.
    ``public_key``: ours, if there is a secret key. ``servers``: by the name of the OpenVPN process.
    ``devices``: by the name of the interface. ``nexthops``: why the kernel has no nexthop objects,
    or None. ``instance``: the id of the Amazon EC2 instance that this is, empty if only that is
    known, None if it is none. ``zebra``: whether FRR's zebra makes nexthop objects, None if it does
    not run or that is not known. ``web_busy``: why the daemon, if it does not run, cannot listen on
    ``web_listen``, or None. ``no_metrics``: the
    command that installs prometheus_client, or None if it is there.
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
    unpassed: Mapping[Path, tuple[str, str]] = attrs.field(factory=dict)
    unit: str | None = None
    filters: tuple[Ruleset, ...] | None = ()
    filters_unseen: tuple[str, ...] = ()
    networkd: tuple[str, ...] | None = None
    networkd_links: frozenset[str] = frozenset()
    reported: Status | str | None = None
    daemon_hidden: str | None = None
    servers: Mapping[str, ServerFacts] = attrs.field(factory=dict)
    devices: Mapping[str, Device] = attrs.field(factory=dict)
    nexthops: str | None = None
    instance: str | None = None
    zebra: bool | None = None
    web_busy: str | None = None
    no_metrics: str | None = None

    def standby(self, one: OpenVPNConfig) -> str:
        """Why OpenVPN *one* does not have to run here, or may not have to; empty if it has to."""
        if not one.service:
            return ""
        if not isinstance(self.reported, Status):
            return f"it runs only where service {one.service} is"
        rows = (row for row in self.reported.openvpn if row.name == reported_name(one.name))
        return next((row.detail for row in rows if row.state == "standby"), "")
