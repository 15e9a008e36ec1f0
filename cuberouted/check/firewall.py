"""Packet filters that might drop what this host forwards: nftables, and iptables of both kinds.

Only looked at, and only where the kernel has them loaded already: `nft` and `iptables-legacy`
would load them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec

from cuberouted.check.commands import run
from cuberouted.check.facts import FilterChain

PROC = Path("/proc")
MODULES = Path("/lib/modules")

_LEGACY = (
    ("iptables-legacy", "ip_tables_names", "ip"),
    ("ip6tables-legacy", "ip6_tables_names", "ip6"),
)
"""Program, the file in /proc/net that names its tables in use, and family."""

_DROPPING = ("drop", "reject")

_LEGACY_DROP = re.compile(
    r"""-A FORWARD( -m comment --comment ("[^"]*"|\S+))? -j (DROP|REJECT( --reject-with \S+)?)"""
)
"""A rule of iptables-legacy that drops every packet."""


@attrs.frozen
class Filters:
    """The chains that drop what no rule accepts, None if this user may not see them.

    ``unseen``: what root cannot see either, and why.
    """

    chains: tuple[FilterChain, ...] | None
    unseen: tuple[str, ...] = ()


def read_filters() -> Filters:
    """The packet filters of this network namespace."""
    if os.geteuid() != 0:
        return Filters(None)
    found = [*_nftables(), *_iptables_legacy()]
    return Filters(
        tuple(x for x in found if isinstance(x, FilterChain)),
        tuple(x for x in found if isinstance(x, str)),
    )


def _nftables() -> Iterator[FilterChain | str]:
    """Dropping chains, or why nothing is seen."""
    if not _is_loaded("nf_tables"):
        return
    chains = _listed("chain", "list", "chains")
    if chains is None:
        yield "nftables cannot be looked at: install nft (Debian package nftables)"
        return
    for chain in chains:
        if chain.get("hook") != "forward":
            continue
        family, table, name = (str(chain.get(key)) for key in ("family", "table", "name"))
        if chain.get("policy") == "drop":
            yield FilterChain(family, table, name, "policy drop")
        elif _ends_in_drop(family, table, name):
            yield FilterChain(family, table, name, "its last rule")


def _ends_in_drop(family: str, table: str, name: str) -> bool:
    """Whether the last rule of a chain drops all that reaches it, as firewalld's does."""
    rules = _listed("rule", "list", "chain", family, table, name)
    last = rules[-1].get("expr") if rules else None
    if not isinstance(last, list):
        return False
    words = [word for statement in last if isinstance(statement, dict) for word in statement]
    effective = [word for word in words if word not in ("counter", "log", "comment")]
    return len(effective) == 1 and effective[0] in _DROPPING


def _listed(kind: str, *command: str) -> list[dict[str, Any]] | None:
    """What nft lists, or None if it is missing, fails, or writes something else."""
    output = run("nft", "--json", *command)
    try:
        items = msgspec.json.decode(output or "{}", type=dict[str, Any]).get("nftables")
    except msgspec.DecodeError:
        return None
    if not isinstance(items, list):
        return None
    found = (item.get(kind) for item in items if isinstance(item, dict))
    return [item for item in found if isinstance(item, dict)]


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


def _iptables_legacy() -> Iterator[FilterChain | str]:
    """Dropping chains, or why they are not seen."""
    for program, names, family in _LEGACY:
        try:
            tables = (PROC / "net" / names).read_text().split()
        except OSError:
            continue
        if "filter" not in tables:
            continue
        output = run(program, "-S", "FORWARD")
        if output is None:
            yield (
                f"the table filter of {family} is in use and cannot be looked at: install"
                f" {program} (Debian package iptables)"
            )
            continue
        lines = output.strip().splitlines()
        if "-P FORWARD DROP" in lines:
            yield FilterChain(family, "filter", "FORWARD", f"{program}, policy DROP")
        elif lines and _LEGACY_DROP.fullmatch(lines[-1]):
            yield FilterChain(family, "filter", "FORWARD", f"{program}, its last rule")
