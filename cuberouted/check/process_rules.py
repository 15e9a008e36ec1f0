"""Rules of `check` on several OpenVPN processes of this host: who gets which address. Pure.

They may share one subnet. Processes whose configuration is not known are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations

import attrs

from cuberouted.check.facts import ClientFiles, HostFacts
from cuberouted.check.finding import Finding, Level, interface, openvpn
from cuberouted.check.server_rules import MAX_NAMED, own_network, pool_of
from cuberouted.config import Config, OpenVPNConfig
from cuberouted.model import format_address
from cuberouted.openvpn.config_file import OpenVPNOptions

_POOLS = (
    "give each process a part of the subnet (ifconfig-pool), without the fixed addresses of"
    " clients (docs/several-openvpn.md)"
)


@attrs.frozen
class _Process:
    """An OpenVPN process whose own configuration is known; see `ServerFacts`."""

    one: OpenVPNConfig
    options: OpenVPNOptions
    clients: ClientFiles | None

    @property
    def subject(self) -> str:
        return openvpn(self.one.name)


def check_processes(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """All on every two of them."""
    known = [
        _Process(one, server.options, server.clients)
        for one in config.openvpns
        if (server := facts.servers.get(one.name)) and isinstance(server.options, OpenVPNOptions)
    ]
    for first, second in combinations(known, 2):
        about = frozenset(
            name for p in (first, second) for name in (p.subject, interface(p.one.data_interface))
        )
        shared = [*_shared_pool(first, second), *_fixed_in_pool(first, second)]
        shared += _fixed_in_pool(second, first)
        differ = _different_addresses(first, second)
        for text in shared:
            yield Finding(Level.WARNING, "pools-shared", second.subject, text, _POOLS, about=about)
        if not shared:
            text = f"gives out no address that {first.subject} gives out, too"
            yield Finding(Level.OK, "pools-shared", second.subject, text, about=about)
        if differ:
            advice = "use the same client-config-dir for both"
            yield Finding(
                Level.WARNING, "fixed-addresses-differ", second.subject, differ, advice, about=about
            )
        elif differ is not None:
            text = f"gives clients the addresses that {first.subject} gives them"
            yield Finding(Level.OK, "fixed-addresses-differ", second.subject, text, about=about)


def _shared_pool(first: _Process, second: _Process) -> Iterator[str]:
    one, other = pool_of(first.options), pool_of(second.options)
    if one is None or other is None:
        return
    low, high = max(one[0], other[0]), min(one[1], other[1])
    if low <= high:
        yield f"gives clients addresses from {low} to {high}, and so does {first.subject}"


def _fixed_in_pool(fixed: _Process, pooled: _Process) -> Iterator[str]:
    pool = pool_of(pooled.options)
    if pool is None or fixed.clients is None:
        return
    inside = sorted(
        name
        for address, name in fixed.clients.addresses.items()
        if len(address) == 4 and pool[0] <= IPv4Address(address) <= pool[1]
    )
    if inside:
        verb = "has a fixed address" if len(inside) == 1 else "have fixed addresses"
        yield (
            f"the addresses of clients of {fixed.subject} are given to others by"
            f" {pooled.subject}: {_named(inside)} {verb} from {pool[0]} to {pool[1]}"
        )


def _different_addresses(first: _Process, second: _Process) -> str | None:
    """What differs between two processes with one subnet; empty: nothing.

    None: they have different ones, or it is not known.
    """
    network = _network(first.options)
    if network is None or network != _network(second.options):
        return None
    if first.clients is None or second.clients is None:
        return None
    ours, theirs = _by_name(first.clients), _by_name(second.clients)
    names = sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])
    if not names:
        return ""
    one, other = (" and ".join(sorted(of[names[0]])) for of in (theirs, ours))
    text = f"gives {names[0]} {one}, and {first.subject} gives it {other}"
    return text if len(names) == 1 else f"{text}; {len(names)} clients have such addresses"


def _network(options: OpenVPNOptions) -> IPv4Network | None:
    pool = pool_of(options)
    return own_network(options) or (pool[2] if pool else None)


def _by_name(clients: ClientFiles) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for address, name in clients.addresses.items():
        found[name] = found.get(name, frozenset()) | {format_address(address)}
    return found


def _named(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
