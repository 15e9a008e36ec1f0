"""Rules of `check` on OpenVPN's own configuration, and on who else uses its management. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

import attrs

from cuberouted.api.report import Status
from cuberouted.check.facts import ClientFiles, HostFacts, ServerFacts
from cuberouted.check.finding import Finding, Level, interface, openvpn
from cuberouted.config import Config, OpenVPNConfig, PeerConfig
from cuberouted.model import format_address
from cuberouted.openvpn.config_file import OpenVPNOptions
from cuberouted.openvpn.connection import MAX_LOG_VERB
from cuberouted.openvpn.omissions import dco_leaves_ghosts

MAX_CLIENTS = 1024
"""OpenVPN's default of max-clients."""

MAX_NAMED = 3
"""Clients that a finding names."""

OAUTH2 = "openvpn-auth-oauth2"
"""A program that decides who may connect, and passes the management interface through."""

DCO_KINDS = frozenset({"ovpn-dco", "ovpn-dco-v2", "ovpn"})
"""Kinds of interfaces whose packets the kernel encrypts: the module of OpenVPN 2.6, and Linux."""


def check_server(config: Config, one: OpenVPNConfig, facts: HostFacts) -> Iterator[Finding]:
    """All on one OpenVPN process."""
    server = facts.servers.get(one.name)
    if server is None:
        return
    found = [*_holders(one, server, facts), *_ghosts(one, server, facts)]
    if isinstance(server.options, str):
        found.append(
            Finding(Level.UNSEEN, "openvpn-config-unread", openvpn(one.name), server.options)
        )
    else:
        found += _options(config, one, server.options, server.clients)
    for finding in found:
        yield _about(finding, one)


def _about(finding: Finding, one: OpenVPNConfig) -> Finding:
    things = frozenset({openvpn(one.name), interface(one.data_interface)})
    return attrs.evolve(finding, about=things)


def _holders(one: OpenVPNConfig, server: ServerFacts, facts: HostFacts) -> Iterator[Finding]:
    subject = openvpn(one.name)
    if one.status_file is not None or facts.openvpn.get(one.name) or _is_connected(one, facts):
        return
    for holder in server.holders:
        yield Finding(
            Level.PROBLEM,
            "management-taken",
            subject,
            f"{holder} is connected to its management interface",
            advice=_instead(holder.program, holder.listens, one),
        )
    if not server.holders and server.held:
        text = "a program that `check` cannot see is connected to its management interface"
        yield Finding(Level.UNSEEN, "management-taken", subject, text, advice="run it as root")
    elif server.held is False:
        text = "nobody else is connected to its management interface"
        yield Finding(Level.OK, "management-taken", subject, text)


def _is_connected(one: OpenVPNConfig, facts: HostFacts) -> bool:
    """Whether our daemon has the management interface."""
    rows = facts.reported.openvpn if isinstance(facts.reported, Status) else ()
    return any(row.name == openvpn(one.name) and row.state == "connected" for row in rows)


def _instead(program: str, listens: Iterable[str], one: OpenVPNConfig) -> str:
    prefix = "" if one.name else "openvpn_"
    if not program.startswith(OAUTH2):
        return "stop it, or use a status file (README.md, Beside another manager of OpenVPN)"
    addresses = [
        f"{prefix}mgmt_socket = {address}" if address.startswith("/") else f"its port {address}"
        for address in listens
    ]
    if not addresses:
        return (
            "switch on openvpn.pass-through in its configuration, and let cuberouted use that"
            f" (README.md, Beside another manager of OpenVPN) with {prefix}mgmt_shared = yes"
        )
    return (
        f"let cuberouted use its pass-through: {' or '.join(addresses)}, and"
        f" {prefix}mgmt_shared = yes"
    )


def _ghosts(one: OpenVPNConfig, server: ServerFacts, facts: HostFacts) -> Iterator[Finding]:
    device = facts.devices.get(one.data_interface)
    if device is None or device.kind not in DCO_KINDS:
        return
    subject = openvpn(one.name)
    if not server.version:
        text = "uses DCO, and its version is not known"
        yield Finding(Level.UNSEEN, "dco-ghosts", subject, text)
    elif dco_leaves_ghosts(server.version.encode()):
        yield Finding(
            Level.WARNING,
            "dco-ghosts",
            subject,
            f"uses DCO, and is {' '.join(server.version.split()[:2])}",
            advice="update it to 2.6.20, 2.7.0 or newer, or add `disable-dco` to its configuration",
        )
    else:
        text = "uses DCO of a version that lists no ghosts"
        yield Finding(Level.OK, "dco-ghosts", subject, text)


def _options(
    config: Config, one: OpenVPNConfig, options: OpenVPNOptions, clients: ClientFiles | None
) -> Iterator[Finding]:
    yield from _ipv6_pool(one, options, clients)
    yield from _pool(config, one, options)
    yield from _max_clients(one, options, clients)
    yield from _token(one, options)
    yield from _verb(one, options)
    yield from _asks_for_each_client(one, options)
    yield from _signal(one, options)
    yield from _duplicates(one, options)
    yield from _client_to_client(config, one, options)


def _has(options: OpenVPNOptions, name: str) -> bool:
    return options.get(name) is not None


def _arguments(options: OpenVPNOptions, name: str) -> tuple[str, ...]:
    option = options.get(name)
    return option.arguments if option else ()


def _number(options: OpenVPNOptions, name: str, default: int) -> int:
    text = next(iter(_arguments(options, name)), "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _ipv6_pool(
    one: OpenVPNConfig, options: OpenVPNOptions, clients: ClientFiles | None
) -> Iterator[Finding]:
    pool = next((x for x in ("server-ipv6", "ifconfig-ipv6-pool") if _has(options, x)), None)
    if pool is None or clients is None:
        return
    subject = openvpn(one.name)
    without = sorted(clients.fixed - clients.fixed6)
    if not without:
        text = "every client with a fixed IPv4 address has a fixed IPv6 address"
        yield Finding(Level.OK, "ipv6-from-pool", subject, text)
        return
    named = ", ".join(without[:MAX_NAMED]) + (", ..." if len(without) > MAX_NAMED else "")
    yield Finding(
        Level.WARNING,
        "ipv6-from-pool",
        subject,
        f"{len(without)} of {len(clients.names)} clients in {clients.directory} have ifconfig-push"
        f" and no ifconfig-ipv6-push ({named}), so they get an IPv6 address from {pool}",
        advice="add ifconfig-ipv6-push to their files, the same on every server",
    )


def _pool(config: Config, one: OpenVPNConfig, options: OpenVPNOptions) -> Iterator[Finding]:
    pool = pool_of(options)
    if pool is None:
        return
    first, last, network = pool
    subject, text = openvpn(one.name), f"gives clients addresses from {first} to {last}"
    peers = [peer for peer in config.peers if _is_inside(peer, first, last)]
    if peers:
        addresses = ", ".join(_data_address(peer) for peer in peers)
        yield Finding(
            Level.WARNING,
            "pool-overlap",
            subject,
            f"{text}, where the servers {addresses} are",
            advice=_OTHER_POOL,
        )
    elif network is not None and 2 * (int(last) - int(first)) > network.num_addresses:
        yield Finding(
            Level.UNSEEN,
            "pool-overlap",
            subject,
            f"{text}, which is most of {network}; whether another server does so, too, is not"
            " known here",
            advice=_OTHER_POOL,
        )
    else:
        yield Finding(Level.OK, "pool-overlap", subject, text)


_OTHER_POOL = (
    "use `mode server`, `ifconfig`, and fixed addresses or a part of the subnet for each server"
    " (ifconfig-pool), instead of `server` (README.md, step 2)"
)


def _is_inside(peer: PeerConfig, first: IPv4Address, last: IPv4Address) -> bool:
    address = peer.data_ip
    return address is not None and len(address) == 4 and first <= IPv4Address(address) <= last


def _data_address(peer: PeerConfig) -> str:
    return "" if peer.data_ip is None else format_address(peer.data_ip)


def pool_of(
    options: OpenVPNOptions,
) -> tuple[IPv4Address, IPv4Address, IPv4Network | None] | None:
    """First and last IPv4 address that OpenVPN gives to clients, and the whole subnet if it is
    known. None without a pool.
    """
    try:
        server, pool = _arguments(options, "server"), _arguments(options, "ifconfig-pool")
        if len(pool) >= 2:
            network = IPv4Network((pool[0], pool[2]), strict=False) if len(pool) > 2 else None
            return IPv4Address(pool[0]), IPv4Address(pool[1]), network or _own_network(options)
        if len(server) >= 2 and "nopool" not in server:
            network = IPv4Network((server[0], server[1]), strict=False)
            # OpenVPN takes the first address for itself (helper.c)
            return network[2], network[-2], network
    except (AddressValueError, NetmaskValueError, ValueError, IndexError):
        pass
    return None


def _own_network(options: OpenVPNOptions) -> IPv4Network | None:
    own = _arguments(options, "ifconfig")
    try:
        return IPv4Network((own[0], own[1]), strict=False) if len(own) > 1 else None
    except ValueError:  # the other end of a point-to-point interface
        return None


def _max_clients(
    one: OpenVPNConfig, options: OpenVPNOptions, clients: ClientFiles | None
) -> Iterator[Finding]:
    limit, subject = _number(options, "max-clients", MAX_CLIENTS), openvpn(one.name)
    if clients is not None and clients.names:
        known, whose = len(clients.names), f"clients have a file in {clients.directory}"
    else:
        network, pool = _own_network(options), pool_of(options)
        network = network or (pool[2] if pool else None)
        if network is None or not _has(options, "max-clients"):
            return
        known, whose = network.num_addresses - 3, f"clients may be in {network}"
    text = f"takes {limit} clients, and {known} {whose}"
    if known <= limit:
        yield Finding(Level.OK, "max-clients-low", subject, text)
        return
    yield Finding(
        Level.WARNING,
        "max-clients-low",
        subject,
        text,
        advice=f"set `max-clients {known}`",
    )


def _token(one: OpenVPNConfig, options: OpenVPNOptions) -> Iterator[Finding]:
    if not _has(options, "auth-gen-token"):
        return
    if _has(options, "auth-gen-token-secret"):
        text = "has a secret for its tokens"
        yield Finding(Level.OK, "token-unshared", openvpn(one.name), text)
        return
    yield Finding(
        Level.WARNING,
        "token-unshared",
        openvpn(one.name),
        "has auth-gen-token without auth-gen-token-secret",
        advice="make a secret (`openvpn --genkey auth-token FILE`), copy it to every server, and"
        " set `auth-gen-token-secret FILE`",
    )


def _verb(one: OpenVPNConfig, options: OpenVPNOptions) -> Iterator[Finding]:
    verb = _number(options, "verb", 1)
    if one.status_file is not None:
        return
    if verb <= MAX_LOG_VERB:
        yield Finding(Level.OK, "verb-high", openvpn(one.name), f"logs with verb {verb}")
        return
    yield Finding(
        Level.WARNING,
        "verb-high",
        openvpn(one.name),
        f"logs with verb {verb}",
        advice=f"set `verb {MAX_LOG_VERB}` or less",
    )


def _asks_for_each_client(one: OpenVPNConfig, options: OpenVPNOptions) -> Iterator[Finding]:
    if one.status_file is not None:
        return
    if not _has(options, "management-client-auth"):
        text = "decides itself who may connect"
        yield Finding(Level.OK, "client-auth-foreign", openvpn(one.name), text)
    elif one.mgmt_shared:
        text = "another program decides who may connect, and passes the interface through"
        yield Finding(Level.OK, "client-auth-foreign", openvpn(one.name), text)
    else:
        yield Finding(
            Level.PROBLEM,
            "client-auth-foreign",
            openvpn(one.name),
            "has management-client-auth: it asks its management client about each client",
            advice="use the pass-through of the program that answers, with mgmt_shared = yes, or a"
            " status file (README.md, Beside another manager of OpenVPN)",
        )


def _signal(one: OpenVPNConfig, options: OpenVPNOptions) -> Iterator[Finding]:
    if one.status_file is None and _has(options, "management-signal"):
        yield Finding(
            Level.WARNING,
            "management-signal",
            openvpn(one.name),
            "has management-signal",
            advice="remove it",
        )


def _duplicates(one: OpenVPNConfig, options: OpenVPNOptions) -> Iterator[Finding]:
    if not _has(options, "duplicate-cn"):
        text = "has one session for each client"
        yield Finding(Level.OK, "duplicate-names", openvpn(one.name), text)
        return
    yield Finding(
        Level.WARNING,
        "duplicate-names",
        openvpn(one.name),
        "has duplicate-cn",
        advice="give each device a certificate of its own, and remove it",
    )


def _client_to_client(
    config: Config, one: OpenVPNConfig, options: OpenVPNOptions
) -> Iterator[Finding]:
    if not _has(options, "client-to-client"):
        return
    if one.status_file is None and config.kill_superseded_sessions:
        text = "has client-to-client, and cuberouted ends superseded sessions"
        yield Finding(Level.OK, "client-to-client", openvpn(one.name), text)
        return
    why = "from its status file" if one.status_file else "with kill_superseded_sessions = no"
    yield Finding(
        Level.WARNING,
        "client-to-client",
        openvpn(one.name),
        f"has client-to-client, and cuberouted ends no superseded session {why}",
        advice="remove client-to-client: the kernel forwards between clients, too",
    )
