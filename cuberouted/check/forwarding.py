"""Rules of `check` on what keeps this host from forwarding, or removes its routes. Pure.

Packet filters are in `filter_rules`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from cuberouted.check.facts import HostFacts
from cuberouted.check.finding import Finding, Level, interface
from cuberouted.config import Config
from cuberouted.daemon.host import data_interfaces, interfaces, present_interfaces
from cuberouted.routing.types import Link, links_by_name

IPV4_FORWARDING = "net/ipv4/ip_forward"
IPV6_FORWARDING = "net/ipv6/conf/all/forwarding"

NETWORKD_DROP_IN = Path("/etc/systemd/networkd.conf.d/cuberouted.conf")


def forwarding_sysctls(config: Config, links: Iterable[Link]) -> Iterator[str]:
    """The keys below /proc/sys that these rules need. An alternative name of a link is none."""
    present = present_interfaces(config, links)
    yield from (IPV4_FORWARDING, IPV6_FORWARDING)
    for name in (*present, "default"):
        yield f"net/ipv4/conf/{name}/forwarding"
        yield f"net/ipv6/conf/{name}/force_forwarding"
    for name in ("all", *present):
        yield f"net/ipv4/conf/{name}/rp_filter"


def check_forwarding(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether the kernel forwards what arrives on the data and management interfaces."""
    families = _families(config, facts)
    if 4 in families:
        yield from _ipv4_forwarding(config, facts)
    if 16 in families:
        yield from _ipv6_forwarding(config, facts)


def _families(config: Config, facts: HostFacts) -> set[int]:
    """Bytes of the addresses that are forwarded; before the data interface is up, of the peers'."""
    allowed = {len(network.address) for network in facts.host.policy.allowed}
    addresses = (address for peer in config.peers for address in (peer.data_ip, peer.mgmt_ip))
    return allowed or {len(address) for address in addresses if address}


def _ipv4_forwarding(config: Config, facts: HostFacts) -> Iterator[Finding]:
    # The setting of the interface on which a packet arrives counts. A change of ip_forward sets
    # every interface, but each can be set again later, and writing what it is already sets none.
    off = _without(config, facts, "net/ipv4/conf/{}/forwarding")
    if not off:
        yield _forwards("IPv4", f"is on for {', '.join(interfaces(config))}")
        return
    every = facts.sysctls.get(IPV4_FORWARDING) == "0"
    advice = f"for every interface: {_command([IPV4_FORWARDING])}" if every else ""
    yield _does_not_forward("IPv4", off, advice, _command(off))


def _ipv6_forwarding(config: Config, facts: HostFacts) -> Iterator[Finding]:
    # conf/INTERFACE/forwarding says only whether the host is a router there
    if facts.sysctls.get(IPV6_FORWARDING) == "1":
        yield _forwards("IPv6", "is on")
        return
    off = _without(config, facts, "net/ipv6/conf/{}/force_forwarding")
    if not off:
        yield _forwards("IPv6", f"is forced on for {', '.join(interfaces(config))}")
        return
    can_force = any(facts.sysctls.get(path) is not None for path in off)  # from Linux 6.17 on
    advice = f"for these interfaces alone: {_command(off)}" if can_force else ""
    yield _does_not_forward("IPv6", off, advice, _command([IPV6_FORWARDING]))


def _forwards(family: str, text: str) -> Finding:
    return Finding(Level.OK, "forwarding-off", f"{family} forwarding", text)


def _does_not_forward(family: str, off: Iterable[str], advice: str, command: str) -> Finding:
    text = f"is off for what arrives on {_names(off)}"
    subject = f"{family} forwarding"
    return Finding(Level.PROBLEM, "forwarding-off", subject, text, advice, command)


def _names(paths: Iterable[str]) -> str:
    names = (path.split("/")[3] for path in paths)
    return ", ".join("interfaces that come later" if x == "default" else x for x in names)


def _command(paths: Iterable[str]) -> str:
    # with slashes, because an interface's name may contain a dot: sysctl(8)
    return f"sysctl -w {' '.join(shlex.quote(f'{path}=1') for path in paths)}"


def _without(config: Config, facts: HostFacts, pattern: str) -> list[str]:
    """The keys that are not 1. An interface that does not exist yet gets the default."""
    names = list(present_interfaces(config, facts.links))
    by_name = links_by_name(facts.links)
    if any(name not in by_name for name in interfaces(config)):
        names.append("default")
    paths = [pattern.format(name) for name in names]
    return [path for path in paths if facts.sysctls.get(path) != "1"]


def check_reverse_path_filter(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether packets of a client that has just moved would be dropped."""
    for name in present_interfaces(config, facts.links):
        values = [
            int(facts.sysctls.get(f"net/ipv4/conf/{which}/rp_filter") or 0)
            for which in ("all", name)
        ]
        about = frozenset({interface(name)})
        if max(values) != 1:  # the kernel uses the larger of the two
            text = "the reverse path filter is not strict"
            yield Finding(Level.OK, "rp-filter-strict", name, text, about=about)
            continue
        yield Finding(
            Level.WARNING,
            "rp-filter-strict",
            name,
            "the reverse path filter is strict",
            command=f"sysctl -w net/ipv4/conf/{shlex.quote(name)}/rp_filter=2",
            about=about,
        )


def check_networkd(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether systemd-networkd removes our routes, rules and nexthop objects."""
    if facts.networkd:
        lines = "".join(f"{key}=no\\n" for key in facts.networkd)
        yield Finding(
            Level.WARNING,
            "networkd-removes-routes",
            "systemd-networkd",
            f"does not have {', '.join(f'{key}=no' for key in facts.networkd)}",
            command=f"mkdir -p {NETWORKD_DROP_IN.parent}"
            f" && printf '[Network]\\n{lines}' > {NETWORKD_DROP_IN}"
            " && systemctl restart systemd-networkd",
        )
    elif facts.networkd is not None:
        text = "leaves routes, rules and nexthop objects of other programs alone"
        yield Finding(Level.OK, "networkd-removes-routes", "systemd-networkd", text)
    for name in dict.fromkeys(peer.mgmt_interface for peer in config.peers):
        if name in facts.networkd_links:
            yield Finding(
                Level.WARNING,
                "networkd-manages-tunnel",
                name,
                "is managed by a systemd-networkd older than version 256: its restart removes"
                " cuberouted's nexthop objects there, and so the routes; cuberouted restores them"
                " within a second",
                advice="set `Unmanaged=yes` in the [Link] section of its .network file",
                about=frozenset({interface(name)}),
            )


def check_mtu(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether the tunnels between servers carry the clients' largest packets."""
    sizes = [facts.devices[name].mtu for name in data_interfaces(config) if name in facts.devices]
    if not sizes:
        return
    largest = max(sizes)
    for name in dict.fromkeys(peer.mgmt_interface for peer in config.peers):
        device = facts.devices.get(name)
        if device is None:
            continue
        about = frozenset({interface(name)})
        if device.mtu >= largest:
            text = f"carries packets of {device.mtu} bytes, and clients send at most {largest}"
            yield Finding(Level.OK, "tunnel-mtu-small", name, text, about=about)
            continue
        # a tunnel of another kind may carry what is larger only in fragments, or not at all
        can_grow = device.kind == "tun"
        yield Finding(
            Level.WARNING,
            "tunnel-mtu-small",
            name,
            f"carries packets of at most {device.mtu} bytes, and clients send up to {largest}",
            advice=f"set `tun-mtu {device.mtu}` in OpenVPN's configuration"
            + (", or make the tunnel's MTU larger on both sides:" if can_grow else ""),
            command=f"ip link set dev {shlex.quote(name)} mtu {largest}" if can_grow else "",
            about=about,
        )


def check_nexthops(facts: HostFacts) -> Iterator[Finding]:
    """Whether the kernel has nexthop objects."""
    if facts.nexthops is None:
        yield Finding(Level.OK, "nexthops-unsupported", "kernel", "has nexthop objects")
        return
    yield Finding(
        Level.PROBLEM,
        "nexthops-unsupported",
        "kernel",
        facts.nexthops,
        advice="use Linux 5.3 or newer",
    )


def check_frr(facts: HostFacts) -> Iterator[Finding]:
    """Whether FRR would make nexthop objects under our ids."""
    if facts.zebra is False:
        yield Finding(Level.OK, "frr-nexthops", "FRR", "makes no nexthop objects")
    elif facts.zebra:
        yield Finding(
            Level.WARNING,
            "frr-nexthops",
            "FRR",
            "zebra runs and makes nexthop objects",
            advice="`write` keeps the line in FRR's configuration:",
            command="vtysh -c 'configure terminal' -c 'no zebra nexthop kernel enable'",
        )


def check_cloud(facts: HostFacts) -> Iterator[Finding]:
    """What Amazon's network would drop. It cannot be seen from the instance."""
    if facts.instance is not None:
        command = "aws ec2 modify-instance-attribute --no-source-dest-check --instance-id"
        yield Finding(
            Level.UNSEEN,
            "source-check",
            "Amazon EC2",
            "whether the source/destination check of this instance is off is not seen from here",
            advice="switch it off if the VPC's routes lead the clients' addresses to this instance",
            command=f"{command} {facts.instance}" if facts.instance else "",
        )
