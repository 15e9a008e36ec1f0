"""The file's text -> Config, or everything that is wrong with it.

Each check looks at what the file says, not at what an earlier check has made of it, so that
one mistake hides no other; a key whose value could not be read takes part in no check.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import attrs

from cuberouted.config import converters, openvpns, peers
from cuberouted.config.schema import KINDS, NodeKeys, OpenVPNKeys, PeerKeys
from cuberouted.config.section import ParsedSection, nearest, parse_section
from cuberouted.config.text import UNREADABLE, Diagnostics, Section, quote, read_sections
from cuberouted.config.values import Config
from cuberouted.model import MAIN_TABLE

KERNEL_TABLES: Final = MappingProxyType({"main": MAIN_TABLE, "default": 253})
"""The routing tables that every host has, by name."""


def parse(
    text: str, path: Path, hostname: str, tables: Mapping[str, int] = KERNEL_TABLES
) -> Config:
    """The configuration that *text* writes.

    *path* is for messages, *hostname* the node's name unless the text has one, *tables* the
    routing tables that have a name (iproute2's rt_tables).

    Raises:
      ConfigError: all that is wrong with it.
    """
    complaints = Diagnostics(path)
    first, *others = read_sections(text, complaints)
    _check_headers(others, complaints)
    node = parse_section(first, NodeKeys, complaints)
    peer_sections = [parse_section(s, PeerKeys, complaints) for s in others if s.kind == "peer"]
    openvpn_sections = [
        parse_section(s, OpenVPNKeys, complaints) for s in others if s.kind == "openvpn"
    ]
    name = _node_name(node, hostname, complaints)
    table = _route_table(node, tables, complaints)
    _check_times(node, complaints)
    all_openvpns = openvpns.build(node, openvpn_sections, complaints)
    all_peers = peers.build(node, name, peer_sections, complaints)
    peers.check_encryption(node, peer_sections, complaints)
    _check_interfaces(node, peer_sections, {o.data_interface for o in all_openvpns}, complaints)
    complaints.raise_any()
    said = {
        key: value
        for key, value in attrs.asdict(node.keys, recurse=False).items()
        if key in attrs.fields_dict(Config)
    }
    said |= {"node": name, "route_table": table}
    return Config(path=path, openvpns=all_openvpns, peers=all_peers, **said)


def _check_headers(sections: list[Section], complaints: Diagnostics) -> None:
    first: dict[tuple[str, str], int] = {}
    for section in sections:
        if section.kind == UNREADABLE:
            continue
        if section.kind not in KINDS:
            near = nearest(section.kind, filter(None, KINDS))
            what = f"the section {quote(section.kind)} is unknown; the nearest is [{near} NAME]"
            complaints.add(section.line, None, what)
        elif not section.name:
            what = f"[{section.kind}] needs a name: [{section.kind} NAME]"
            complaints.add(section.line, None, what)
        else:
            _check_name(section, first, complaints)


def _check_name(
    section: Section, first: dict[tuple[str, str], int], complaints: Diagnostics
) -> None:
    try:
        converters.name(section.name)
    except ValueError as error:
        complaints.add(section.line, None, f"[{section.kind} NAME]: {error}")
        return
    before = first.setdefault((section.kind, section.name), section.line)
    if before != section.line:
        what = f"begins in line {before} already: keep one of the two"
        complaints.add(section.line, section.title, what)


def _node_name(node: ParsedSection[NodeKeys], hostname: str, complaints: Diagnostics) -> str:
    if node.keys.node is not None or node.has("node"):
        return node.keys.node or ""
    try:
        return converters.name(hostname)
    except ValueError as error:
        complaints.add(None, "node", f"is missing, and the host's name cannot stand in: {error}")
        return ""


def _route_table(
    node: ParsedSection[NodeKeys], tables: Mapping[str, int], complaints: Diagnostics
) -> int:
    table = node.keys.route_table
    if isinstance(table, int):
        return table
    if table not in tables:
        what = f"no table is called {table}: a number, or a name in /etc/iproute2/rt_tables"
        complaints.add(node.line("route_table"), "route_table", what)
    return tables.get(table, MAIN_TABLE)


def _check_times(node: ParsedSection[NodeKeys], complaints: Diagnostics) -> None:
    heartbeat, hold = node.keys.heartbeat_interval, node.keys.hold_time
    if heartbeat < hold or node.bad & {"heartbeat_interval", "hold_time"}:
        return
    if node.has("heartbeat_interval"):
        key, what = "heartbeat_interval", f"{heartbeat:g}s is not below hold_time ({hold:g}s)"
    else:
        key, what = "hold_time", f"{hold:g}s is not above heartbeat_interval ({heartbeat:g}s)"
    what += ": a third of hold_time is right for heartbeat_interval"
    complaints.add(node.line(key), key, what)


def _check_interfaces(
    node: ParsedSection[NodeKeys],
    peer_sections: list[ParsedSection[PeerKeys]],
    data_interfaces: set[str],
    complaints: Diagnostics,
) -> None:
    sections: list[ParsedSection[NodeKeys] | ParsedSection[PeerKeys]] = [node, *peer_sections]
    for filled in sections:
        if filled.keys.mgmt_interface in data_interfaces:
            what = (
                f"{filled.keys.mgmt_interface} is the clients' data_interface: peers are reached"
                " through another one"
            )
            complaints.add(filled.line("mgmt_interface"), "mgmt_interface", what)
