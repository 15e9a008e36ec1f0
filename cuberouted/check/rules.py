"""The rules of `check`: would this configuration work on this host?

Pure: `HostFacts`, which `probe` collects, go in, and findings come out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from cuberouted.config import Config, OpenVPNConfig
from cuberouted.daemon.host import HostState, interfaces, peers_sharing_a_tunnel
from cuberouted.model import Prefix, format_address
from cuberouted.routing.types import Link

CREDENTIALS = Path("/run/credentials")
"""Where systemd puts the files of LoadCredential= while the unit runs."""


class Level(enum.Enum):
    """The severity of a finding. WAIT: cuberouted starts anyway, and waits for it."""

    OK = "ok"
    WAIT = "wait"
    WARNING = "warning"
    PROBLEM = "problem"


@attrs.frozen
class Finding:
    """The result of one rule. ``text`` says what is, and what would be right."""

    level: Level
    subject: str
    text: str


@attrs.frozen
class HostFacts:
    """What was found on this host.

    ``sysctls``: by path below /proc/sys, None if it does not exist. ``openvpn``: by the name of
    the OpenVPN process, why its management interface cannot be used, or None. ``busy``: listen
    addresses whose port is taken, and the error. ``unreadable``: configured files that cannot be
    used, and why. ``daemon``: whether cuberouted runs with this configuration. ``public_key``:
    ours, if there is a secret key.
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


def run_checks(config: Config, facts: HostFacts) -> list[Finding]:
    """All findings, also those that all is well."""
    return [
        *_capability(facts),
        *_interfaces(config, facts),
        *(
            Finding(Level.PROBLEM, f"peer {peer.label}", why)
            for peer, why in peers_sharing_a_tunnel(config.peers, facts.links)
        ),
        *_encryption(config, facts),
        *_peer_addresses(config, facts),
        *_allowed_networks(config, facts),
        *_forwarding(facts),
        *_reverse_path_filter(config, facts),
        *(finding for openvpn in config.openvpns for finding in _openvpn(openvpn, facts)),
        *_control_socket(facts),
        *_listen_addresses(facts),
    ]


def sysctls_to_read(config: Config) -> list[str]:
    """The keys that `HostFacts.sysctls` has to contain."""
    names = ("all", *interfaces(config))
    return [
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        *(f"net/ipv4/conf/{name}/rp_filter" for name in names),
    ]


def _capability(facts: HostFacts) -> Iterator[Finding]:
    if facts.missing_capability:
        yield Finding(
            Level.PROBLEM,
            "privileges",
            f"{facts.missing_capability} is missing: run as root, or by the systemd unit",
        )


def _interfaces(config: Config, facts: HostFacts) -> Iterator[Finding]:
    for name in interfaces(config):
        if name in facts.host.missing:
            yield Finding(Level.WAIT, name, "is missing or down; cuberouted will wait for it")
        else:
            yield Finding(Level.OK, name, "is up")


def _encryption(config: Config, facts: HostFacts) -> Iterator[Finding]:
    path = config.secret_key_file
    if path is not None and path in facts.unreadable:
        yield _unreadable("secret_key_file", path, facts)
    if facts.public_key is not None:
        yield Finding(Level.OK, "encryption", f"is on; our public key is {facts.public_key}")


def _peer_addresses(config: Config, facts: HostFacts) -> Iterator[Finding]:
    for peer in config.peers:
        link = next((x for x in facts.links if x.name == peer.mgmt_interface), None)
        address, text = Prefix.host(peer.mgmt_ip), format_address(peer.mgmt_ip)
        if peer.mgmt_ip in facts.host.policy.own_addresses:
            yield Finding(Level.PROBLEM, f"peer {peer.label}", f"{text} is this host's own address")
        elif link and not any(a.network.contains(address) for a in link.addresses):
            yield Finding(
                Level.WARNING,
                f"peer {peer.label}",
                f"{text} is in no network of {link.name}; is it the other end of that tunnel?",
            )


def _allowed_networks(config: Config, facts: HostFacts) -> Iterator[Finding]:
    allowed = facts.host.policy.allowed
    if not allowed:
        yield Finding(
            Level.WAIT,
            "allowed_networks",
            "is empty until the data interface is up, or the key is set",
        )
        return
    yield Finding(Level.OK, "allowed_networks", ", ".join(map(str, allowed)))
    for peer in config.peers:
        data_ip = peer.data_ip and Prefix.host(peer.data_ip)
        if data_ip and not any(network.contains(data_ip) for network in allowed):
            yield Finding(
                Level.WARNING,
                f"peer {peer.label}",
                f"its data address {format_address(data_ip.address)} is outside allowed_networks",
            )


def _forwarding(facts: HostFacts) -> Iterator[Finding]:
    families = {len(network.address) for network in facts.host.policy.allowed}
    for bytes_, path in ((4, "net/ipv4/ip_forward"), (16, "net/ipv6/conf/all/forwarding")):
        name = path.replace("/", ".")
        if bytes_ in families and facts.sysctls.get(path) != "1":
            yield Finding(
                Level.PROBLEM,
                name,
                f"is off: this host does not forward between clients; sysctl -w {name}=1",
            )
        elif bytes_ in families:
            yield Finding(Level.OK, name, "is on")


def _reverse_path_filter(config: Config, facts: HostFacts) -> Iterator[Finding]:
    for name in interfaces(config):
        if name in facts.host.missing:
            continue
        values = [
            int(facts.sysctls.get(f"net/ipv4/conf/{which}/rp_filter") or 0)
            for which in ("all", name)
        ]
        if max(values) == 1:  # the kernel uses the larger of the two
            yield Finding(
                Level.WARNING,
                f"net.ipv4.conf.{name}.rp_filter",
                "is strict: packets of a client that has just moved may be dropped; set it to 2"
                " (loose)",
            )


def _openvpn(openvpn: OpenVPNConfig, facts: HostFacts) -> Iterator[Finding]:
    subject = f"openvpn {openvpn.name}".rstrip()
    why = facts.openvpn.get(openvpn.name)
    if why:
        yield Finding(Level.WAIT, subject, why)
    else:
        what = "status file" if openvpn.status_file else "management interface"
        yield Finding(Level.OK, subject, f"{what} found")
    for path in (openvpn.mgmt_pass_file, openvpn.status_file):
        if path is not None and path in facts.unreadable:
            yield _unreadable(str(path), path, facts)


def _unreadable(subject: str, path: Path, facts: HostFacts) -> Finding:
    if path.is_relative_to(CREDENTIALS) and not facts.daemon:
        return Finding(Level.WAIT, subject, "does not exist until systemd starts the unit")
    return Finding(Level.PROBLEM, subject, facts.unreadable[path])


def _control_socket(facts: HostFacts) -> Iterator[Finding]:
    if facts.daemon:
        yield Finding(Level.OK, "cuberouted", "is running with this control socket")


def _listen_addresses(facts: HostFacts) -> Iterator[Finding]:
    for address, why in facts.busy.items():
        yield Finding(
            Level.PROBLEM,
            address,
            f"cannot listen: {why}; stop the other program, or set cube_routed_port",
        )
