"""The OpenVPNs of a configuration: one in the node's keys, or ``[openvpn NAME]`` sections."""

from __future__ import annotations

from pathlib import Path

from cuberouted.config.schema import NodeKeys, OpenVPNKeys
from cuberouted.config.section import ParsedSection, key_names
from cuberouted.config.text import Diagnostics
from cuberouted.config.values import OpenVPNConfig

_PREFIX = "openvpn_"
_NODE_KEYS = tuple(key for key in key_names("") if key.startswith(_PREFIX))


def build(
    node: ParsedSection[NodeKeys],
    sections: list[ParsedSection[OpenVPNKeys]],
    complaints: Diagnostics,
) -> tuple[OpenVPNConfig, ...]:
    """The OpenVPNs whose description is complete; complaints about the others."""
    if not sections:
        return _only_openvpn(node, complaints)
    for key in filter(node.has, _NODE_KEYS):
        near = key.removeprefix(_PREFIX)
        what = f"cannot stand beside [openvpn NAME] sections: write {near} in each of them"
        complaints.add(node.line(key), key, what)
    found = []
    for section in sections:
        _check_access(section, "", complaints)
        if not node.has("data_interface"):
            section.require("data_interface", complaints)
        if interface := section.keys.data_interface or node.keys.data_interface:
            found.append(_config(section.section.name, interface, section.keys))
    _check_distinct(node, sections, complaints)
    return tuple(found)


def _only_openvpn(
    node: ParsedSection[NodeKeys], complaints: Diagnostics
) -> tuple[OpenVPNConfig, ...]:
    _check_access(node, _PREFIX, complaints)
    node.require("data_interface", complaints)
    keys = node.keys
    if keys.data_interface is None:
        return ()
    same = OpenVPNKeys(
        mgmt_host=keys.openvpn_mgmt_host,
        mgmt_port=keys.openvpn_mgmt_port,
        mgmt_socket=keys.openvpn_mgmt_socket,
        mgmt_pass_file=keys.openvpn_mgmt_pass_file,
        status_file=keys.openvpn_status_file,
    )
    return (_config("", keys.data_interface, same),)


def _config(name: str, data_interface: str, keys: OpenVPNKeys) -> OpenVPNConfig:
    return OpenVPNConfig(
        name=name,
        data_interface=data_interface,
        mgmt_host=keys.mgmt_host,
        mgmt_port=keys.mgmt_port,
        mgmt_socket=keys.mgmt_socket,
        mgmt_pass_file=keys.mgmt_pass_file,
        status_file=keys.status_file,
    )


def _check_access(
    filled: ParsedSection[NodeKeys] | ParsedSection[OpenVPNKeys],
    prefix: str,
    complaints: Diagnostics,
) -> None:
    """One way to an OpenVPN: a status file, a Unix socket, or TCP."""
    tcp = ("mgmt_host", "mgmt_port")
    for one, others in (
        ("status_file", (*tcp, "mgmt_socket", "mgmt_pass_file")),
        ("mgmt_socket", tcp),
    ):
        beside = [prefix + other for other in others if filled.has(prefix + other)]
        if filled.has(prefix + one) and beside:
            what = f"cannot stand beside {', '.join(beside)}: keep the way that OpenVPN offers"
            complaints.add(filled.line(prefix + one), prefix + one, what)


def _check_distinct(
    node: ParsedSection[NodeKeys],
    sections: list[ParsedSection[OpenVPNKeys]],
    complaints: Diagnostics,
) -> None:
    interfaces: dict[str, str] = {}
    places: dict[Path | tuple[str, int], str] = {}
    for section in sections:
        interface = section.keys.data_interface or node.keys.data_interface
        if (
            interface
            and (before := interfaces.setdefault(interface, section.section.title))
            != section.section.title
        ):
            what = f"{interface} is the one of {before} already: every OpenVPN has its own"
            complaints.add(section.line("data_interface"), "data_interface", what)
        place = _place(section.keys)
        if (before := places.setdefault(place, section.section.title)) != section.section.title:
            what = f"is reached at the same place as {before}: one mgmt_port or mgmt_socket each"
            complaints.add(section.section.line, section.section.title, what)


def _place(keys: OpenVPNKeys) -> Path | tuple[str, int]:
    return keys.status_file or keys.mgmt_socket or (keys.mgmt_host or "127.0.0.1", keys.mgmt_port)
