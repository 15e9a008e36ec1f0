"""The rules of `check`: would this configuration work on this host?

Pure: `HostFacts`, which `probe` collects, go in, and findings come out. The rules on interfaces
and addresses are here, the others in `access` and `forwarding`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cuberouted.check import access, forwarding
from cuberouted.check.facts import Finding, HostFacts, Level
from cuberouted.config import Config
from cuberouted.daemon.host import interfaces, peers_sharing_a_tunnel
from cuberouted.model import Prefix, format_address
from cuberouted.routing.types import Link, links_by_name


def run_checks(config: Config, facts: HostFacts) -> list[Finding]:
    """All findings, also those that all is well."""
    return [
        *access.check_privileges(facts),
        *_interfaces(config, facts),
        *(
            Finding(Level.PROBLEM, f"peer {peer.label}", why)
            for peer, why in peers_sharing_a_tunnel(config.peers, links_by_name(facts.links))
        ),
        *access.check_files(config, facts),
        *_peer_addresses(config, facts),
        *_allowed_networks(config, facts),
        *forwarding.check_forwarding(config, facts),
        *forwarding.check_reverse_path_filter(config, facts),
        *forwarding.check_filters(config, facts),
        *forwarding.check_networkd(config, facts),
        *(f for openvpn in config.openvpns for f in access.check_openvpn(openvpn, facts)),
        *access.check_daemon(config, facts),
        *access.check_listen_addresses(facts),
    ]


def sysctls_to_read(config: Config, links: Iterable[Link]) -> list[str]:
    """The keys that `HostFacts.sysctls` has to contain."""
    return list(forwarding.forwarding_sysctls(config, links))


def _interfaces(config: Config, facts: HostFacts) -> Iterator[Finding]:
    for name in interfaces(config):
        if name in facts.host.missing:
            yield Finding(Level.WAIT, name, "is missing or down; cuberouted will wait for it")
        else:
            yield Finding(Level.OK, name, "is up")


def _peer_addresses(config: Config, facts: HostFacts) -> Iterator[Finding]:
    own = facts.host.policy.own_addresses
    by_name = links_by_name(facts.links)
    for peer in config.peers:
        link = by_name.get(peer.mgmt_interface)
        address, text = Prefix.host(peer.mgmt_ip), format_address(peer.mgmt_ip)
        if peer.data_ip in own:
            yield Finding(
                Level.PROBLEM,
                f"peer {peer.label}",
                f"its data address {format_address(peer.data_ip)} is this host's own address",
            )
        if peer.mgmt_ip in own:
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
