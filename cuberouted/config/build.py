"""Makes a `Config` of the file's text, or reports all of its mistakes at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import attrs

from cuberouted.config import checks, converters
from cuberouted.config.schema import Config, OpenVPNConfig, PeerConfig, ServiceConfig
from cuberouted.config.section import ConfigT, ParsedSection, parse_section, split_shorthands
from cuberouted.config.text import Diagnostics, Section, read_sections
from cuberouted.model import MAIN_TABLE

KERNEL_TABLES: Final = MappingProxyType({"main": MAIN_TABLE, "default": 253})
"""The routing tables that exist on every host, by name."""


def parse(
    text: str, path: Path, hostname: str, tables: Mapping[str, int] = KERNEL_TABLES
) -> Config:
    """Parse and check the configuration *text*. The secret key's file is not read.

    *path* is used in messages. *hostname* is the node's name if *text* sets none. *tables*: the
    numbers of the routing tables that have a name.

    Raises:
      ConfigError: with all mistakes in *text*.
    """
    diagnostics = Diagnostics(path)
    first, *others = read_sections(text, diagnostics)
    checks.check_headers(others, diagnostics)
    shorthands = split_shorthands(first)
    node = parse_section(_with_table_number(shorthands[""], tables), Config, diagnostics, path=path)
    peers = _parse_kind(shorthands["peer"], others, PeerConfig, diagnostics)
    openvpns = _parse_kind(shorthands["openvpn"], others, OpenVPNConfig, diagnostics)
    services = [
        parse_section(section, ServiceConfig, diagnostics, name=section.name)
        for section in others
        if section.kind == "service"
    ]
    config = attrs.evolve(
        node.values,
        node=_node_name(node, hostname),
        peers=tuple(_with_node_values(peer.values, node.values) for peer in peers),
        openvpns=tuple(_with_data_interface(o.values, node.values) for o in openvpns),
        services=tuple(service.values for service in services),
    )
    checks.check_node(node)
    checks.check_peers(node, peers, config)
    checks.check_openvpns(node, openvpns, config)
    checks.check_web(node, openvpns)
    checks.check_services(node, services, peers)
    diagnostics.raise_any()
    return config


def _parse_kind(
    shorthand: Section, others: list[Section], config: type[ConfigT], diagnostics: Diagnostics
) -> list[ParsedSection[ConfigT]]:
    """The sections of one kind, or else the one made of the node's shorthand keys."""
    kind = shorthand.kind
    sections = [section for section in others if section.kind == kind]
    parsed = [parse_section(s, config, diagnostics, name=s.name) for s in sections]
    only = parse_section(shorthand, config, diagnostics)
    if not parsed:
        return [only]
    for key in shorthand.entries:
        only.report(
            key,
            f"cannot be combined with [{kind} NAME] sections: write {key} in a section for it",
        )
    return parsed


def _with_table_number(node: Section, tables: Mapping[str, int]) -> Section:
    entry = node.entries.get("route_table")
    if entry is None or entry.text not in tables:
        return node
    number = entry._replace(text=str(tables[entry.text]))
    return attrs.evolve(node, entries=node.entries | {"route_table": number})


def _node_name(node: ParsedSection[Config], hostname: str) -> str:
    if node.has("node"):
        return node.values.node
    try:
        return converters.name(hostname)
    except ValueError as error:
        node.report("node", f"is missing, and the host's name cannot be used: {error}")
        return ""


def _with_node_values(peer: PeerConfig, node: Config) -> PeerConfig:
    return attrs.evolve(
        peer,
        mgmt_interface=peer.mgmt_interface or node.mgmt_interface,
        port=peer.port or node.cube_routed_port,
    )


def _with_data_interface(openvpn: OpenVPNConfig, node: Config) -> OpenVPNConfig:
    return attrs.evolve(openvpn, data_interface=openvpn.data_interface or node.data_interface)
