"""The packet filters of this host: nftables, and iptables of both kinds.

Only looked at, and only where the kernel has them loaded already: `nft` and `iptables-legacy`
would load them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import attrs

from cuberouted.check.filter_lists import parse_iptables, parse_nft
from cuberouted.check.packet_filter import Ruleset
from cuberouted.check.programs import run

PROC = Path("/proc")
MODULES = Path("/lib/modules")

_LEGACY = (
    ("iptables-legacy", "ip_tables_names", "ip"),
    ("ip6tables-legacy", "ip6_tables_names", "ip6"),
)
"""Program, the file in /proc/net that names its tables in use, and family."""


@attrs.frozen
class Filters:
    """The packet filters, None if this user may not see them.

    ``unseen``: what root cannot see either, and why.
    """

    rulesets: tuple[Ruleset, ...] | None
    unseen: tuple[str, ...] = ()


def read_filters() -> Filters:
    """The packet filters of this network namespace."""
    if os.geteuid() != 0:
        return Filters(None)
    found = [*_nftables(), *_iptables_legacy()]
    return Filters(
        tuple(x for x in found if isinstance(x, Ruleset)),
        tuple(x for x in found if isinstance(x, str)),
    )


def _nftables() -> Iterator[Ruleset | str]:
    """The chains, or why they are not seen."""
    if not _is_loaded("nf_tables"):
        return
    # --terse: a named set may have many thousand elements
    output = run("nft", "--json", "--terse", "list", "ruleset")
    found = None if output is None else parse_nft(output)
    yield found or "nftables cannot be looked at: install nft (Debian package nftables)"


def _is_loaded(module: str) -> bool:
    """Whether a kernel module is loaded, or built in. A kernel without modules has all it needs."""
    try:
        loaded = (PROC / "modules").read_text()
    except OSError:
        return True
    if any(line.startswith(f"{module} ") for line in loaded.splitlines()):
        return True
    try:
        builtin = (MODULES / os.uname().release / "modules.builtin").read_text()
    except OSError:
        return False
    return f"/{module}.ko" in builtin


def _iptables_legacy() -> Iterator[Ruleset | str]:
    """The chains of the tables in use, or why they are not seen."""
    for program, names, family in _LEGACY:
        try:
            tables = (PROC / "net" / names).read_text().split()
        except OSError:
            continue
        for table in ("filter", "nat"):
            if table not in tables:
                continue
            output = run(program, "-t", table, "-S")
            if output is None:
                yield (
                    f"the table {table} of {family} is in use and cannot be looked at: install"
                    f" {program} (Debian package iptables)"
                )
            else:
                yield parse_iptables(program, family, table, output)
