"""The peers of a configuration: the one in the node's keys, or one a ``[peer NAME]`` section."""

from __future__ import annotations

from typing import NamedTuple

from cuberouted.config.schema import NodeKeys, PeerKeys
from cuberouted.config.section import ParsedSection
from cuberouted.config.text import Diagnostics
from cuberouted.config.values import PeerConfig

Owner = ParsedSection[NodeKeys] | ParsedSection[PeerKeys]


def check_encryption(
    node: ParsedSection[NodeKeys], sections: list[ParsedSection[PeerKeys]], complaints: Diagnostics
) -> None:
    """Complain of what is missing to encrypt, and of a key that two peers have."""
    wanted: list[tuple[Owner, str]] = [(section, "public_key") for section in sections]
    if not sections:
        wanted = [(node, "remote_public_key")]
    encrypted = node.has("secret_key_file")
    for owner, key in wanted:
        if encrypted and not owner.has(key):
            what = (
                "is missing: with secret_key_file every peer needs one;"
                " `cuberouted keygen` there prints it"
            )
            complaints.add(_line(owner, key, node), key, f"{what}{_where(owner)}")
        elif owner.has(key) and not encrypted:
            what = "needs secret_key_file, our own key: `cuberouted keygen` makes one"
            complaints.add(owner.line(key), key, what)
    _check_distinct(sections, complaints)


def _line(owner: Owner, key: str, node: ParsedSection[NodeKeys]) -> int | None:
    return owner.line(key) if owner.section.kind else node.line("secret_key_file")


def _where(owner: Owner) -> str:
    return f" ({owner.section.title})" if owner.section.kind else ""


def _check_distinct(sections: list[ParsedSection[PeerKeys]], complaints: Diagnostics) -> None:
    first: dict[bytes, ParsedSection[PeerKeys]] = {}
    for section in sections:
        for public in section.keys.public_key or ():
            before = first.setdefault(public, section)
            if before is not section:
                what = f"is the one of {before.section.title} already: every peer has its own"
                complaints.add(section.line("public_key"), "public_key", what)


_ONLY_PEER = ("remote_mgmt_ip", "remote_data_ip", "remote_public_key")


class _Said(NamedTuple):
    """An address that the file gives to a peer, and where."""

    address: bytes | None
    key: str
    owner: ParsedSection[NodeKeys] | ParsedSection[PeerKeys]

    @property
    def line(self) -> int | None:
        return self.owner.line(self.key)

    @property
    def text(self) -> str:
        return self.owner.section.entries[self.key].text


def build(
    node: ParsedSection[NodeKeys],
    name: str,
    sections: list[ParsedSection[PeerKeys]],
    complaints: Diagnostics,
) -> tuple[PeerConfig, ...]:
    """The peers whose description is complete; complaints about the others. *name* is our own."""
    only = next((key for key in _ONLY_PEER if node.has(key)), None)
    _check_addresses(node, sections, complaints)
    if only is not None and sections:
        what = "is for two servers without [peer NAME] sections: write one for this peer too"
        complaints.add(node.line(only), only, what)
        return ()
    if only is None and not sections:
        what = "is missing: the peer's address, or for more than one peer [peer NAME] sections"
        complaints.add(None, "remote_mgmt_ip", what)
        return ()
    if only is not None:
        return _only_peer(node, complaints)
    _check_names(name, sections, complaints)
    found = (_peer(node, section, complaints) for section in sections)
    return tuple(peer for peer in found if peer is not None)


def _only_peer(node: ParsedSection[NodeKeys], complaints: Diagnostics) -> tuple[PeerConfig, ...]:
    node.require("mgmt_interface", complaints)
    node.require("remote_mgmt_ip", complaints)
    keys = node.keys
    if keys.mgmt_interface is None or keys.remote_mgmt_ip is None:
        return ()
    return (
        PeerConfig(
            name=None,
            mgmt_interface=keys.mgmt_interface,
            mgmt_ip=keys.remote_mgmt_ip,
            data_ip=keys.remote_data_ip,
            port=keys.cube_routed_port,
            public_keys=keys.remote_public_key or (),
        ),
    )


def _peer(
    node: ParsedSection[NodeKeys], section: ParsedSection[PeerKeys], complaints: Diagnostics
) -> PeerConfig | None:
    if not node.has("mgmt_interface"):
        section.require("mgmt_interface", complaints)
    section.require("mgmt_ip", complaints)
    interface = section.keys.mgmt_interface or node.keys.mgmt_interface
    if interface is None or section.keys.mgmt_ip is None:
        return None
    return PeerConfig(
        name=section.section.name,
        mgmt_interface=interface,
        mgmt_ip=section.keys.mgmt_ip,
        data_ip=section.keys.data_ip,
        port=section.keys.port or node.keys.cube_routed_port,
        public_keys=section.keys.public_key or (),
    )


def _check_names(
    name: str, sections: list[ParsedSection[PeerKeys]], complaints: Diagnostics
) -> None:
    for section in sections:
        if section.section.name == name:
            what = "has this node's own name: every node has another (node = NAME sets ours)"
            complaints.add(section.section.line, section.section.title, what)


def _check_addresses(
    node: ParsedSection[NodeKeys], sections: list[ParsedSection[PeerKeys]], complaints: Diagnostics
) -> None:
    """No address may stand for two things: it would be two routes to one place."""
    first: dict[bytes, _Said] = {}
    for said in _addresses(node, sections):
        if said.address is None:
            continue
        before = first.setdefault(said.address, said)
        if before is not said:
            what = (
                f"{said.text} is {before.key} of {before.owner.section.title} already"
                f" (line {before.line}): it can be one of the two"
            )
            complaints.add(said.line, said.key, what)
    for address in node.keys.listen or ():
        if address in first and first[address].key.endswith("mgmt_ip"):
            what = f"{first[address].text} is a peer's address: name our own"
            complaints.add(node.line("listen"), "listen", what)


def _addresses(
    node: ParsedSection[NodeKeys], sections: list[ParsedSection[PeerKeys]]
) -> list[_Said]:
    return [
        _Said(node.keys.remote_mgmt_ip, "remote_mgmt_ip", node),
        _Said(node.keys.remote_data_ip, "remote_data_ip", node),
        *(_Said(section.keys.mgmt_ip, "mgmt_ip", section) for section in sections),
        *(_Said(section.keys.data_ip, "data_ip", section) for section in sections),
    ]
