"""Rules of `check` on the web listener: whether it can be reached, and by whom. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from cuberouted.check.facts import HostFacts
from cuberouted.check.finding import Finding, Level
from cuberouted.config import Config, ListenAddress

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
    yield _readers(config, listen)
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


def _readers(config: Config, listen: ListenAddress) -> Finding:
    address = ipaddress.ip_address(listen.address)
    if address.is_loopback:
        return Finding(Level.OK, "web-exposed", SUBJECT, f"{listen} is reached by this host only")
    if address.is_unspecified:
        where = f"port {listen.port} of any address of this host"
    elif address.is_global:
        where = f"{listen}, which is a public address"
    elif config.web_clients:
        where = str(listen)
    else:
        text = f"clients are refused, and the firewall decides who else reaches {listen}"
        return Finding(Level.OK, "web-exposed", SUBJECT, text)
    clients = ", clients among them (web_clients = yes)" if config.web_clients else ""
    return Finding(
        Level.WARNING,
        "web-exposed",
        SUBJECT,
        f"can be read by everybody who reaches {where}{clients}",
        advice=_PLACES,
    )
