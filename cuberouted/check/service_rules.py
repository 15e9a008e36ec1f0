"""Rules of `check` on shared service addresses, and on the state directory. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from cuberouted.check.access import check_file
from cuberouted.check.facts import HostFacts, ServerFacts
from cuberouted.check.finding import Finding, Level, interface, openvpn
from cuberouted.check.server_rules import pool_of
from cuberouted.config import Config, ServiceConfig
from cuberouted.model import Prefix, format_address
from cuberouted.services.types import Program


def check_services(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """All on the ``[service NAME]`` sections."""
    for service in config.services:
        yield from _given_to_clients(config, service, facts)
        yield from _on_this_host(config, service, facts)
        yield from _networks(service, facts)
        yield from _commands(service, facts)


def check_state_directory(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon can keep there what has to outlast a restart."""
    directory = config.state_directory
    subject = f"state_directory {directory}"
    yield from check_file("state-unwritable", subject, directory, facts, level=Level.WARNING)


def commands(service: ServiceConfig) -> dict[Program, Path]:
    """The programs that *service* runs."""
    argvs = {program: getattr(service, program.value) for program in Program}
    return {program: Path(argv[0]) for program, argv in argvs.items() if argv}


def _subject(service: ServiceConfig) -> str:
    return f"service {service.name}"


def _given_to_clients(
    config: Config, service: ServiceConfig, facts: HostFacts
) -> Iterator[Finding]:
    """Whether an OpenVPN of this host may give the address to a client."""
    known = False
    for one in config.openvpns:
        server = facts.servers.get(one.name)
        if server is None or isinstance(server.options, str):
            continue
        known = True
        for how, advice in _gifts(service.address, server):
            yield Finding(
                Level.PROBLEM,
                "service-given-to-clients",
                _subject(service),
                f"its address {format_address(service.address)} is {how} of {openvpn(one.name)}",
                advice=advice,
                about=frozenset({openvpn(one.name)}),
            )
            return
    if known:
        text = f"no client gets {format_address(service.address)}"
        yield Finding(Level.OK, "service-given-to-clients", _subject(service), text)


def _gifts(address: bytes, server: ServerFacts) -> Iterator[tuple[str, str]]:
    clients = server.clients
    name = clients.addresses.get(address) if clients else None
    if clients is not None and name is not None:
        advice = "give that client, or the service, another address, the same on every server"
        yield f"that of client {name} in {clients.directory}", advice
    pool = None if isinstance(server.options, str) else pool_of(server.options)
    if pool is not None and len(address) == 4 and pool[0] <= IPv4Address(address) <= pool[1]:
        advice = "use an address outside of it, or make the pool smaller (ifconfig-pool)"
        yield f"in the pool {pool[0]} to {pool[1]}", advice


def _on_this_host(config: Config, service: ServiceConfig, facts: HostFacts) -> Iterator[Finding]:
    """Whether another interface than ours has the address, whoever has the service."""
    for link in facts.links:
        names = (link.name, *link.altnames)
        has_it = any(address.local == service.address for address in link.addresses)
        if has_it and config.service_interface not in names and service.address not in link.ours:
            yield Finding(
                Level.PROBLEM,
                "service-on-interface",
                _subject(service),
                f"its address {format_address(service.address)} is on {link.name}",
                advice=f"remove it there: cuberouted adds it to {config.service_interface} while"
                " this node has the service",
                about=frozenset({interface(link.name)}),
            )
            return
    text = f"only cuberouted adds {format_address(service.address)}"
    yield Finding(Level.OK, "service-on-interface", _subject(service), text)


def _networks(service: ServiceConfig, facts: HostFacts) -> Iterator[Finding]:
    """Whether nodes without this section accept claims to it: they use ``allowed_networks``."""
    allowed = facts.host.policy.allowed
    if not allowed:
        return
    prefix = Prefix.host(service.address)
    for network in {address.network for link in facts.links for address in link.addresses}:
        if service.address in _no_hosts(network):
            yield Finding(
                Level.PROBLEM,
                "service-outside-networks",
                _subject(service),
                f"its address {prefix.short} is the network or broadcast address of {network}",
                advice="use an address between these two",
            )
            return
    inside = any(network.contains(prefix) for network in allowed)
    yield Finding(
        Level.OK if inside else Level.WARNING,
        "service-outside-networks",
        _subject(service),
        f"its address {prefix.short} is {'inside' if inside else 'outside'} allowed_networks",
        advice=""
        if inside
        else "use an address of the clients' subnet, or add it to allowed_networks on every server",
    )


def _no_hosts(network: Prefix) -> tuple[bytes, ...]:
    """The network and the broadcast address of an IPv4 network that has them (RFC 3021)."""
    if len(network.address) != 4 or network.length > 30:
        return ()
    last = int.from_bytes(network.address) | ((1 << (32 - network.length)) - 1)
    return network.address, last.to_bytes(4)


def _commands(service: ServiceConfig, facts: HostFacts) -> Iterator[Finding]:
    for program, path in commands(service).items():
        subject = f"{_subject(service)}, {program.value} {path}"
        yield from check_file("service-command-unusable", subject, path, facts)
