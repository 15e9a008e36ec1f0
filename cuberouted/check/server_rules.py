"""Rules of `check` on OpenVPN's own configuration, and on who else uses its management. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import NamedTuple

import attrs

from cuberouted.api.report import Status
from cuberouted.check.facts import ClientFiles, HostFacts, ServerFacts
from cuberouted.check.finding import Finding, Level, interface, openvpn, reported_name
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


class RuleResult(NamedTuple):
    """What a rule finds; see `Finding`."""

    level: Level
    text: str
    advice: str = ""


@attrs.frozen
class ServerCase:
    """An OpenVPN process of *config* whose own configuration is known; see `ServerFacts`."""

    config: Config
    one: OpenVPNConfig
    options: OpenVPNOptions
    clients: ClientFiles | None

    def has(self, name: str) -> bool:
        """Whether it has the option *name*."""
        return self.options.get(name) is not None

    def number(self, name: str, default: int) -> int:
        """The number that the option *name* sets."""
        text = next(iter(_arguments(self.options, name)), "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def check_server(config: Config, one: OpenVPNConfig, facts: HostFacts) -> Iterator[Finding]:
    """All on one OpenVPN process."""
    server = facts.servers.get(one.name)
    if server is None:
        return
    found: dict[str, Iterable[RuleResult | None]] = {
        "management-taken": _holders(one, server, facts),
        "dco-ghosts": _ghosts(one, server, facts),
    }
    if isinstance(server.options, str):
        if not facts.standby(one):
            found["openvpn-config-unread"] = [RuleResult(Level.UNSEEN, server.options)]
    else:
        case = ServerCase(config, one, server.options, server.clients)
        found |= {id_: [rule(case)] for id_, rule in RULES.items()}
    subject = openvpn(one.name)
    about = frozenset({subject, interface(one.data_interface)})
    for id_, judgements in found.items():
        for level, text, advice in filter(None, judgements):
            yield Finding(level, id_, subject, text, advice, about=about)


def _holders(one: OpenVPNConfig, server: ServerFacts, facts: HostFacts) -> Iterator[RuleResult]:
    if one.status_file is not None or facts.openvpn.get(one.name) or _is_connected(one, facts):
        return
    for holder in server.holders:
        yield RuleResult(
            Level.PROBLEM,
            f"{holder} is connected to its management interface",
            _instead(holder.program, holder.listens, one),
        )
    if not server.holders and server.held:
        yield RuleResult(
            Level.UNSEEN,
            "a program that `check` cannot see is connected to its management interface",
            "run it as root",
        )
    elif server.held is False:
        yield RuleResult(Level.OK, "nobody else is connected to its management interface")


def _is_connected(one: OpenVPNConfig, facts: HostFacts) -> bool:
    """Whether our daemon has the management interface."""
    rows = facts.reported.openvpn if isinstance(facts.reported, Status) else ()
    return any(row.name == reported_name(one.name) and row.state == "connected" for row in rows)


def _instead(program: str, listens: Iterable[str], one: OpenVPNConfig) -> str:
    prefix = "" if one.name else "openvpn_"
    if not program.startswith(OAUTH2):
        return "stop it, or use a status file (docs/other-managers.md)"
    addresses = [
        f"{prefix}mgmt_socket = {address}" if address.startswith("/") else f"its port {address}"
        for address in listens
    ]
    if not addresses:
        return (
            "switch on openvpn.pass-through in its configuration, and let cuberouted use that"
            f" (docs/other-managers.md) with {prefix}mgmt_shared = yes"
        )
    return (
        f"let cuberouted use its pass-through: {' or '.join(addresses)}, and"
        f" {prefix}mgmt_shared = yes"
    )


def _ghosts(one: OpenVPNConfig, server: ServerFacts, facts: HostFacts) -> Iterator[RuleResult]:
    device = facts.devices.get(one.data_interface)
    if device is None or device.kind not in DCO_KINDS:
        return
    if not server.version:
        yield RuleResult(Level.UNSEEN, "uses DCO, and its version is not known")
    elif dco_leaves_ghosts(server.version.encode()):
        yield RuleResult(
            Level.WARNING,
            f"uses DCO, and is {' '.join(server.version.split()[:2])}",
            "update it to 2.6.20, 2.7.0 or newer, or add `disable-dco` to its configuration",
        )
    else:
        yield RuleResult(Level.OK, "uses DCO of a version that lists no ghosts")


# -- its own configuration --


def _arguments(options: OpenVPNOptions, name: str) -> tuple[str, ...]:
    option = options.get(name)
    return option.arguments if option else ()


def _tap(case: ServerCase) -> RuleResult | None:
    device = next(iter(_arguments(case.options, "dev")), "")
    kind = next(iter(_arguments(case.options, "dev-type")), device)
    if not kind.startswith("tap"):
        return RuleResult(Level.OK, "routes IP packets")
    return RuleResult(
        Level.PROBLEM,
        "has a tap device, whose clients it lists by MAC addresses only: they are not shared",
        "use `dev tun` and `topology subnet`, here and on the clients",
    )


def _ipv6_pool(case: ServerCase) -> RuleResult | None:
    clients = case.clients
    pool = next((x for x in ("server-ipv6", "ifconfig-ipv6-pool") if case.has(x)), None)
    if pool is None or clients is None:
        return None
    without = sorted(clients.fixed - clients.fixed6)
    if not without:
        return RuleResult(
            Level.OK, "every client with a fixed IPv4 address has a fixed IPv6 address"
        )
    named = ", ".join(without[:MAX_NAMED]) + (", ..." if len(without) > MAX_NAMED else "")
    return RuleResult(
        Level.WARNING,
        f"{len(without)} of {len(clients.names)} clients in {clients.directory} have ifconfig-push"
        f" and no ifconfig-ipv6-push ({named}), so they get an IPv6 address from {pool}",
        "add ifconfig-ipv6-push to their files, the same on every server",
    )


def _pool(case: ServerCase) -> RuleResult | None:
    pool = pool_of(case.options)
    if pool is None:
        return None
    first, last, network = pool
    text = f"gives clients addresses from {first} to {last}"
    peers = [peer for peer in case.config.peers if _is_inside(peer, first, last)]
    if peers:
        addresses = ", ".join(_data_address(peer) for peer in peers)
        return RuleResult(Level.WARNING, f"{text}, where the servers {addresses} are", _OTHER_POOL)
    if network is not None and 2 * (int(last) - int(first)) > network.num_addresses:
        return RuleResult(
            Level.UNSEEN,
            f"{text}, which is most of {network}; whether another server does so, too, is not"
            " known here",
            _OTHER_POOL,
        )
    return RuleResult(Level.OK, text)


_OTHER_POOL = (
    "use `mode server`, `ifconfig`, and fixed addresses or a part of the subnet for each server"
    " (ifconfig-pool), instead of `server` (docs/install.md)"
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
            return IPv4Address(pool[0]), IPv4Address(pool[1]), network or own_network(options)
        if len(server) >= 2 and "nopool" not in server:
            network = IPv4Network((server[0], server[1]), strict=False)
            # OpenVPN takes the first address for itself (helper.c)
            return network[2], network[-2], network
    except (AddressValueError, NetmaskValueError, ValueError, IndexError):
        pass
    return None


def own_network(options: OpenVPNOptions) -> IPv4Network | None:
    """The subnet of the address that ``ifconfig`` gives OpenVPN itself."""
    own = _arguments(options, "ifconfig")
    try:
        return IPv4Network((own[0], own[1]), strict=False) if len(own) > 1 else None
    except ValueError:  # the other end of a point-to-point interface
        return None


def _max_clients(case: ServerCase) -> RuleResult | None:
    clients = case.clients
    limit = case.number("max-clients", MAX_CLIENTS)
    if clients is not None and clients.names:
        known, whose = len(clients.names), f"clients have a file in {clients.directory}"
    else:
        network, pool = own_network(case.options), pool_of(case.options)
        network = network or (pool[2] if pool else None)
        if network is None or not case.has("max-clients"):
            return None
        known, whose = network.num_addresses - 3, f"clients may be in {network}"
    text = f"takes {limit} clients, and {known} {whose}"
    if known <= limit:
        return RuleResult(Level.OK, text)
    return RuleResult(Level.WARNING, text, f"set `max-clients {known}`")


def _token(case: ServerCase) -> RuleResult | None:
    if not case.has("auth-gen-token"):
        return None
    if case.has("auth-gen-token-secret"):
        return RuleResult(Level.OK, "has a secret for its tokens")
    return RuleResult(
        Level.WARNING,
        "has auth-gen-token without auth-gen-token-secret",
        "make a secret (`openvpn --genkey auth-token FILE`), copy it to every server, and"
        " set `auth-gen-token-secret FILE`",
    )


def _verb(case: ServerCase) -> RuleResult | None:
    if case.one.status_file is not None:
        return None
    verb = case.number("verb", 1)
    if verb <= MAX_LOG_VERB:
        return RuleResult(Level.OK, f"logs with verb {verb}")
    return RuleResult(Level.WARNING, f"logs with verb {verb}", f"set `verb {MAX_LOG_VERB}` or less")


def _asks_for_each_client(case: ServerCase) -> RuleResult | None:
    if case.one.status_file is not None:
        return None
    if not case.has("management-client-auth"):
        return RuleResult(Level.OK, "decides itself who may connect")
    if case.one.mgmt_shared:
        return RuleResult(
            Level.OK, "another program decides who may connect, and passes the interface through"
        )
    return RuleResult(
        Level.PROBLEM,
        "has management-client-auth: it asks its management client about each client",
        "use the pass-through of the program that answers, with mgmt_shared = yes, or a"
        " status file (docs/other-managers.md)",
    )


def _signal(case: ServerCase) -> RuleResult | None:
    if case.one.status_file is not None or not case.has("management-signal"):
        return None
    return RuleResult(Level.WARNING, "has management-signal", "remove it")


def _duplicates(case: ServerCase) -> RuleResult | None:
    if not case.has("duplicate-cn"):
        return RuleResult(Level.OK, "has one session for each client")
    return RuleResult(
        Level.WARNING,
        "has duplicate-cn",
        "give each device a certificate of its own, and remove it",
    )


def _client_to_client(case: ServerCase) -> RuleResult | None:
    if not case.has("client-to-client"):
        return None
    if case.one.status_file is None and case.config.kill_superseded_sessions:
        return RuleResult(Level.OK, "has client-to-client, and cuberouted ends superseded sessions")
    why = "from its status file" if case.one.status_file else "with kill_superseded_sessions = no"
    return RuleResult(
        Level.WARNING,
        f"has client-to-client, and cuberouted ends no superseded session {why}",
        "remove client-to-client: the kernel forwards between clients, too",
    )


RULES: Mapping[str, Callable[[ServerCase], RuleResult | None]] = {
    "tap-device": _tap,
    "ipv6-from-pool": _ipv6_pool,
    "pool-overlap": _pool,
    "max-clients-low": _max_clients,
    "token-unshared": _token,
    "verb-high": _verb,
    "client-auth-foreign": _asks_for_each_client,
    "management-signal": _signal,
    "duplicate-names": _duplicates,
    "client-to-client": _client_to_client,
}
"""The rules on its configuration, by the id of what they find."""
