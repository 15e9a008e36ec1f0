"""The rules of `check`: would this configuration work on this host?

Pure: `HostFacts`, which `probe` collects, go in, and findings come out. The rules on interfaces
and addresses are here, the others in `access`, `forwarding`,
`filter_rules`, `process_rules`, `server_rules`, `service_rules` and `web_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cuberouted.check import (
    access,
    filter_rules,
    forwarding,
    process_rules,
    server_rules,
    service_rules,
    web_rules,
)
from cuberouted.check.causes import without_consequences
from cuberouted.check.facts import HostFacts
from cuberouted.check.finding import Finding, Level, interface, peer
from cuberouted.config import Config
from cuberouted.daemon.host import data_interfaces, interfaces, peers_sharing_a_tunnel
from cuberouted.model import Prefix, format_address
from cuberouted.routing.types import Link, links_by_name


def run_checks(config: Config, facts: HostFacts, of_peers: Iterable[Finding] = ()) -> list[Finding]:
    """All findings, also those that all is well, but no consequences of others.

    *of_peers*: those of `peers.check_peers`.
    """
    return without_consequences(
        [
            *access.check_privileges(facts),
            *_interfaces(config, facts),
            *_tunnels(config, facts),
            *access.check_files(config, facts),
            *access.check_programs(config, facts),
            *service_rules.check_state_directory(config, facts),
            *_peer_addresses(config, facts),
            *_allowed_networks(config, facts),
            *forwarding.check_forwarding(config, facts),
            *forwarding.check_reverse_path_filter(config, facts),
            *filter_rules.check_filters(config, facts),
            *filter_rules.check_translation(config, facts),
            *forwarding.check_mtu(config, facts),
            *forwarding.check_nexthops(facts),
            *forwarding.check_networkd(config, facts),
            *forwarding.check_frr(facts),
            *forwarding.check_cloud(facts),
            *(f for openvpn in config.openvpns for f in access.check_openvpn(openvpn, facts)),
            *(f for one in config.openvpns for f in server_rules.check_server(config, one, facts)),
            *process_rules.check_processes(config, facts),
            *service_rules.check_services(config, facts),
            *access.check_daemon(config, facts),
            *access.check_listen_addresses(facts),
            *web_rules.check_web(config, facts),
            *of_peers,
        ]
    )


def sysctls_to_read(config: Config, links: Iterable[Link]) -> list[str]:
    """The keys that `HostFacts.sysctls` has to contain."""
    return list(forwarding.forwarding_sysctls(config, links))


def _interfaces(config: Config, facts: HostFacts) -> Iterator[Finding]:
    here = links_by_name(facts.links)
    standby = {o.data_interface: why for o in config.openvpns if (why := facts.standby(o))}
    for name in interfaces(config):
        about = frozenset({interface(name)})
        if name not in facts.host.missing:
            yield Finding(Level.OK, "interface-missing", name, "is up", about=about)
            continue
        if name in standby:
            text = f"does not have to be up: {standby[name]}"
            yield Finding(Level.OK, "interface-missing", name, text, about=about)
            continue
        yield Finding(
            Level.WARNING,
            "interface-missing",
            name,
            "is down, or has no carrier" if name in here else "does not exist",
            advice="start what creates it: OpenVPN, or the tunnel",
            about=about,
        )


def _tunnels(config: Config, facts: HostFacts) -> Iterator[Finding]:
    faults = dict(peers_sharing_a_tunnel(config.peers, links_by_name(facts.links)))
    for one, why in faults.items():
        subject = peer(one.label)
        about = frozenset({subject})
        yield Finding(Level.PROBLEM, "tunnel-shared", subject, why, about=about)
    if not faults:
        yield Finding(Level.OK, "tunnel-shared", "tunnels", "lead to one peer each")


def _peer_addresses(config: Config, facts: HostFacts) -> Iterator[Finding]:
    own = facts.host.policy.own_addresses
    by_name = links_by_name(facts.links)
    for one in config.peers:
        link = by_name.get(one.mgmt_interface)
        address, text = Prefix.host(one.mgmt_ip), format_address(one.mgmt_ip)
        subject = peer(one.label)
        about = frozenset({subject, interface(one.mgmt_interface)})
        found = [
            f"its {what} {format_address(ours)} is this host's own"
            for what, ours in (("address", one.mgmt_ip), ("data address", one.data_ip))
            if ours in own
        ]
        for why in found:
            yield Finding(Level.PROBLEM, "peer-is-self", subject, why, about=about)
        if not found:
            yield Finding(Level.OK, "peer-is-self", subject, "is another host", about=about)
        if link is None or one.mgmt_ip in own:
            continue
        if any(a.network.contains(address) for a in link.addresses):
            text = f"{text} is behind {link.name}"
            yield Finding(Level.OK, "peer-off-link", subject, text, about=about)
        else:
            yield Finding(
                Level.WARNING,
                "peer-off-link",
                subject,
                f"{text} is in no network of {link.name}",
                advice="mgmt_ip has to be the address of the other end of that tunnel",
                about=about,
            )


def _allowed_networks(config: Config, facts: HostFacts) -> Iterator[Finding]:
    allowed = facts.host.policy.allowed
    if not allowed:
        yield Finding(
            Level.WARNING,
            "networks-unknown",
            "allowed_networks",
            "is empty until the data interface is up",
            advice="start OpenVPN, or set allowed_networks",
            about=frozenset(map(interface, data_interfaces(config))),
        )
        return
    networks = ", ".join(map(str, allowed))
    yield Finding(Level.OK, "networks-unknown", "allowed_networks", networks)
    for one in config.peers:
        if one.data_ip is None:
            continue
        data_ip = Prefix.host(one.data_ip)
        inside = any(network.contains(data_ip) for network in allowed)
        yield Finding(
            Level.OK if inside else Level.WARNING,
            "peer-outside-networks",
            peer(one.label),
            f"its data address {format_address(one.data_ip)} is"
            f" {'inside' if inside else 'outside'} allowed_networks",
            advice="" if inside else "correct its data_ip, or add its network to allowed_networks",
            about=frozenset({peer(one.label)}),
        )
