"""Rules of `check` on the web listener: whether it can be reached, and by whom. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from cuberouted.check.facts import HostFacts
from cuberouted.check.filter_rules import FAMILIES
from cuberouted.check.finding import Finding, Level
from cuberouted.check.packet_filter import Packet, Verdict, outcomes
from cuberouted.config import Config, ListenAddress
from cuberouted.daemon.host import data_interfaces, present_interfaces
from cuberouted.model import Prefix
from cuberouted.routing.types import links_by_name

SUBJECT = "web_listen"

FIRST_FREE_PORT = 1024
"""Ports below need CAP_NET_BIND_SERVICE: capabilities(7)."""

_PLACES = (
    "listen on 127.0.0.1, for a reverse proxy or `ssh -L`, or on an address that only"
    " administrators and the monitoring reach"
)


def check_web(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """What there is to say of ``web_listen``, if it is set."""
    listen = config.web_listen
    if listen is None:
        return
    yield from _obstacles(listen, facts)
    yield _readers(config, listen, facts)
    if facts.no_metrics is None:
        yield Finding(Level.OK, "metrics-missing", "/metrics", "prometheus_client is installed")
    else:
        yield Finding(
            Level.WARNING,
            "metrics-missing",
            "/metrics",
            "is not served: the Python package prometheus_client is not installed",
            command=facts.no_metrics,
        )


def _obstacles(listen: ListenAddress, facts: HostFacts) -> Iterator[Finding]:
    """Why nobody will reach *listen*. A daemon that runs reports that itself."""
    address = ipaddress.ip_address(listen.address)
    anywhere = address.is_loopback or address.is_unspecified
    if not anywhere and address.packed not in facts.host.policy.own_addresses:
        yield Finding(
            Level.WARNING,
            "web-unusable",
            SUBJECT,
            f"{address} is no address of this host now",
            advice="correct it, unless an interface that is missing will have it",
        )
    if facts.web_busy:
        yield Finding(
            Level.WARNING,
            "web-unusable",
            SUBJECT,
            f"cannot listen on {listen}: {facts.web_busy}",
            advice="stop the other program, or use another port",
        )
    if listen.port < FIRST_FREE_PORT and not facts.daemon:
        yield Finding(
            Level.UNSEEN,
            "web-unusable",
            SUBJECT,
            f"port {listen.port} needs CAP_NET_BIND_SERVICE, which cuberouted.service does not"
            " grant",
            advice="use a port from 1024 on, or grant it by a drop-in",
        )


def _readers(config: Config, listen: ListenAddress, facts: HostFacts) -> Finding:
    address = ipaddress.ip_address(listen.address)
    if address.is_loopback:
        return Finding(Level.OK, "web-exposed", SUBJECT, f"{listen} is reached by this host only")
    if address.is_unspecified:
        where = f"port {listen.port} of any address of this host, clients among them"
    elif _is_clients(config, address.packed, facts):
        where = f"{listen}, which is this host's address for clients"
    elif address.is_global:
        where = f"{listen}, which is a public address"
    elif _is_open_to_clients(config, address.packed, facts):
        return Finding(
            Level.WARNING,
            "web-exposed",
            SUBJECT,
            f"can be read by clients: no firewall drops what they send to {listen} through the VPN",
            advice="listen on 127.0.0.1, or add a rule for the monitoring: docs/web.md has one",
        )
    else:
        text = f"the firewall decides who reaches {listen}"
        return Finding(Level.OK, "web-exposed", SUBJECT, text)
    return Finding(
        Level.WARNING,
        "web-exposed",
        SUBJECT,
        f"can be read by everybody who reaches {where}",
        advice=_PLACES,
    )


def _is_open_to_clients(config: Config, address: bytes, facts: HostFacts) -> bool:
    """Whether packets of clients certainly get to *address* of this host.

    Linux accepts a packet for any of its addresses on any interface. So clients of this server and
    of others reach it, whether they have that default route or add a route of their own.
    """
    if facts.filters is None or facts.filters_unseen:
        return False
    chains = [
        (ruleset, chain)
        for ruleset in facts.filters
        for hook in ("prerouting", "input")
        for chain in ruleset.entered_at(hook, "filter")
        if len(address) in FAMILIES.get(chain.family, set())
    ]
    target = Prefix(address, 8 * len(address))
    return any(
        all(
            outcomes(*place, Packet(into, "", network, target)) == {Verdict.ACCEPT}
            for place in chains
        )
        for network in facts.host.policy.allowed
        if len(network.address) == len(address)
        for into in present_interfaces(config, facts.links)
    )


def _is_clients(config: Config, address: bytes, facts: HostFacts) -> bool:
    """Whether *address* is the one of a data interface."""
    by_name = links_by_name(facts.links)
    links = [by_name[name] for name in data_interfaces(config) if name in by_name]
    return any(a.local == address for link in links for a in link.addresses)
