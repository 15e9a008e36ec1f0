"""Rules of `check` on what keeps this host from forwarding, or removes its routes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cuberouted.check.facts import FilterChain, Finding, HostFacts, Level
from cuberouted.config import Config
from cuberouted.daemon.host import data_interfaces, interfaces, present_interfaces
from cuberouted.routing.types import Link, links_by_name

IPV4_FORWARDING = "net/ipv4/ip_forward"
IPV6_FORWARDING = "net/ipv6/conf/all/forwarding"

NETWORKD_DROP_IN = "/etc/systemd/networkd.conf.d/cuberouted.conf"

_FAMILIES = {"ip": {4}, "ip6": {16}, "inet": {4, 16}}
"""Bytes of the addresses that the chains of a family see."""


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
        on = ", ".join(interfaces(config))
        yield Finding(Level.OK, "IPv4 forwarding", f"is on for {on}")
        return
    text = f"is off for what arrives on {_names(off)}; {_command(off)}"
    if facts.sysctls.get(IPV4_FORWARDING) == "0":
        text += f", or for every interface {_command([IPV4_FORWARDING])}"
    yield Finding(Level.PROBLEM, "IPv4 forwarding", text)


def _ipv6_forwarding(config: Config, facts: HostFacts) -> Iterator[Finding]:
    # conf/INTERFACE/forwarding says only whether the host is a router there
    if facts.sysctls.get(IPV6_FORWARDING) == "1":
        yield Finding(Level.OK, "IPv6 forwarding", "is on")
        return
    off = _without(config, facts, "net/ipv6/conf/{}/force_forwarding")
    if not off:
        on = ", ".join(interfaces(config))
        yield Finding(Level.OK, "IPv6 forwarding", f"is forced on for {on}")
        return
    text = f"is off for what arrives on {_names(off)}; {_command([IPV6_FORWARDING])}"
    if any(facts.sysctls.get(path) is not None for path in off):  # from Linux 6.17 on
        text += f", or for these interfaces alone {_command(off)}"
    yield Finding(Level.PROBLEM, "IPv6 forwarding", text)


def _names(paths: Iterable[str]) -> str:
    names = (path.split("/")[3] for path in paths)
    return ", ".join("interfaces that come later" if x == "default" else x for x in names)


def _command(paths: Iterable[str]) -> str:
    # with slashes, because an interface's name may contain a dot: sysctl(8)
    return f"sysctl -w {' '.join(f'{path}=1' for path in paths)}"


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
        if max(values) == 1:  # the kernel uses the larger of the two
            yield Finding(
                Level.WARNING,
                f"net.ipv4.conf.{name}.rp_filter",
                "is strict: packets of a client that has just moved may be dropped; set it to 2"
                " (loose)",
            )


def check_filters(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Packet filters that might drop what is forwarded. Whether they do is not known."""
    if facts.filters is None:
        yield Finding(Level.NOTE, "firewall", "only root sees whether it drops what is forwarded")
        return
    families = _families(config, facts)
    for chain in facts.filters:
        if families & _FAMILIES.get(chain.family, set()):
            yield Finding(Level.NOTE, "firewall", _accept(config, chain))


def _accept(config: Config, chain: FilterChain) -> str:
    data = data_interfaces(config)
    tunnels = [name for name in interfaces(config) if name not in data]
    pairs = [f"{one} -> {one}" for one in data]
    pairs += [f"{one} <-> {two}" for one, two in _pairs(data, tunnels)]
    return (
        f"chain {chain.name} of table {chain.family} {chain.table} drops what no rule accepts"
        f" ({chain.why}): make sure that it accepts {', '.join(pairs)}"
    )


def _pairs(data: tuple[str, ...], tunnels: Iterable[str]) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(data):
        yield from ((one, two) for two in data[number + 1 :])
        yield from ((one, two) for two in tunnels)


def check_networkd(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether systemd-networkd removes our routes, rules and nexthop objects."""
    if facts.networkd:
        lines = "\n".join(("[Network]", *(f"{key}=no" for key in facts.networkd)))
        yield Finding(
            Level.WARNING,
            "systemd-networkd",
            "removes routes, rules and nexthop objects of other programs, so cuberouted's, whenever"
            f" it is restarted. Write these lines to {NETWORKD_DROP_IN} and restart"
            f" systemd-networkd:\n{lines}",
        )
    for name in dict.fromkeys(peer.mgmt_interface for peer in config.peers):
        if name in facts.networkd_links:
            yield Finding(
                Level.WARNING,
                name,
                "is managed by a systemd-networkd older than version 256: its restart removes"
                " cuberouted's nexthop objects there, and so the routes, unless the interface has"
                " `Unmanaged=yes`; cuberouted restores them within a second",
            )
