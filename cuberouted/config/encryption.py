"""Encryption is on for every peer, or for none: half of it is a mistake."""

from __future__ import annotations

from cuberouted.config.fill import Filled
from cuberouted.config.keys import NodeKeys, PeerKeys
from cuberouted.config.problems import Complaints

Owner = Filled[NodeKeys] | Filled[PeerKeys]


def check(node: Filled[NodeKeys], sections: list[Filled[PeerKeys]], complaints: Complaints) -> None:
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


def _line(owner: Owner, key: str, node: Filled[NodeKeys]) -> int | None:
    return owner.line(key) if owner.section.kind else node.line("secret_key_file")


def _where(owner: Owner) -> str:
    return f" ({owner.section.title})" if owner.section.kind else ""


def _check_distinct(sections: list[Filled[PeerKeys]], complaints: Complaints) -> None:
    first: dict[bytes, Filled[PeerKeys]] = {}
    for section in sections:
        for public in section.keys.public_key or ():
            before = first.setdefault(public, section)
            if before is not section:
                what = f"is the one of {before.section.title} already: every peer has its own"
                complaints.add(section.line("public_key"), "public_key", what)
