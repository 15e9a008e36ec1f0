"""Claims on prefixes: whose they are, and how one compares with another. Pure values."""

from __future__ import annotations

import enum
from typing import NamedTuple

from cuberouted.model import Advertisement, Kind

ADOPTED_VERSION = 0
"""Nobody says 0 on the wire: any real claim beats what was only found in the kernel."""


class Origin(enum.StrEnum):
    """How we know."""

    LOCAL = "local"  # a session of an OpenVPN process of ours
    PEER = "peer"  # a peer has told us, or its route was found in the kernel at our start
    CONFIGURED = "configured"  # a peer's data_ip in our configuration


class Source(NamedTuple):
    """Where a claim comes from. ``name`` is the OpenVPN process or the peer."""

    origin: Origin
    name: str


class Claim(NamedTuple):
    """An advertisement and whose it is. ``node`` is the name that the claimant announces."""

    source: Source
    node: str
    advertisement: Advertisement

    @property
    def is_local(self) -> bool:
        """Whether the client is connected to this host."""
        return self.source.origin is Origin.LOCAL


def precedence(claim: Claim) -> tuple[int, str, str, str]:
    """Sorts the claims on one prefix, best first.

    The highest version wins; on a tie the lexicographically lower node name, so that all
    nodes agree without asking. What follows decides only between sources on one node.

    Source: RFC 7432 section 15 (MAC mobility), applied to client addresses.
    """
    return (
        -claim.advertisement.version,
        claim.node,
        claim.source.origin.value,
        claim.source.name,
    )


def is_client(claim: Claim) -> bool:
    """Whether somebody has said that this is a client (an adopted route is nobody's word)."""
    said = claim.advertisement
    return said.kind is Kind.CLIENT and said.version != ADOPTED_VERSION


def supersedes(best: Claim, ours: Claim) -> bool:
    """Whether *best* proves that the client behind *ours* has connected elsewhere since.

    Only a confirmed claim proves it: OpenVPN announces a client also when a script then
    refuses it. A tie proves nothing, and where the names differ two servers have given one
    address to two clients: nobody is dropped for that.
    """
    newer, older = best.advertisement, ours.advertisement
    return (
        newer.confirmed
        and newer.version > older.version
        and newer.kind is older.kind is Kind.CLIENT
        and newer.name == older.name
    )
