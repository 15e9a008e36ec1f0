"""Packet filters that might drop what this host forwards: nftables, and iptables of both kinds.

Only looked at, and only where the kernel has them loaded already: `nft` and `iptables-legacy`
would load them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def dropping_chains() -> tuple[FilterChain, ...] | None:
    """The chains that drop what no rule accepts, or None if we may not see them."""
    if os.geteuid() != 0:
        return None
    return (*_nftables(), *_iptables_legacy())


def _nftables() -> Iterator[FilterChain]:
    if not _is_loaded("nf_tables"):
        return
    for chain in _listed("chain", "list", "chains"):
        if chain.get("hook") != "forward":
            continue
        family, table, name = (str(chain.get(key)) for key in ("family", "table", "name"))
        if chain.get("policy") == "drop":
            yield FilterChain(family, table, name, "policy drop")
        elif _ends_in_drop(family, table, name):
            yield FilterChain(family, table, name, "its last rule")


def _ends_in_drop(family: str, table: str, name: str) -> bool:
    """Whether the last rule of a chain drops all that reaches it, as firewalld's does."""
    rules = list(_listed("rule", "list", "chain", family, table, name))
    last = rules[-1].get("expr") if rules else None
    if not isinstance(last, list):
        return False
    words = [word for statement in last if isinstance(statement, dict) for word in statement]
    effective = [word for word in words if word not in ("counter", "log", "comment")]
    return len(effective) == 1 and effective[0] in _DROPPING


def _listed(kind: str, *command: str) -> Iterator[dict[str, Any]]:
    output = run("nft", "--json", *command)
    try:
        items = msgspec.json.decode(output or "{}", type=dict[str, Any]).get("nftables", [])
    except msgspec.DecodeError:
        return
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(item.get(kind), dict):
            yield item[kind]


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


def _iptables_legacy() -> Iterator[FilterChain]:
    for program, names, family in _LEGACY:
        try:
            tables = (PROC / "net" / names).read_text().split()
        except OSError:
            continue
        output = run(program, "-S", "FORWARD") if "filter" in tables else None
        if output and "-P FORWARD DROP" in output.splitlines():
            yield FilterChain(family, "filter", "FORWARD", f"{program}, policy DROP")
