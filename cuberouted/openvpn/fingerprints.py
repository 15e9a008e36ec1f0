"""Digests of the files that the OpenVPN servers of a mesh have to share, and their comparison.
Pure.

A digest is keyed by a nonce of the node that compares (HMAC-SHA-256). Comments and spaces at the
ends of lines do not count, so that files which mean the same are the same.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from cuberouted.model import DIGEST_BYTES, FileKind, Fingerprint, printable_name

MAX_NAMED = 3
"""Files that a sentence names."""


@attrs.frozen
class OwnFingerprint:
    """A fingerprint of this node, and the name of the file behind each digest."""

    fingerprint: Fingerprint
    names: Mapping[bytes, bytes]

    @classmethod
    def of(
        cls, kind: FileKind, openvpn: str, nonce: bytes, files: Iterable[tuple[bytes, bytes]]
    ) -> OwnFingerprint:
        """The fingerprint of *files*, pairs of name and content."""
        names = {digest(nonce, name, content): name for name, content in files}
        return cls(Fingerprint(kind, openvpn, b"".join(sorted(names))), names)

    @classmethod
    def unknown(cls, kind: FileKind, openvpn: str, why: str) -> OwnFingerprint:
        """Nothing could be read, because of *why*."""
        return cls(Fingerprint(kind, openvpn, why=why[:300]), {})


def digest(nonce: bytes, name: bytes, content: bytes) -> bytes:
    """The digest of one file."""
    lines = (line.strip() for line in content.splitlines())
    significant = b"\n".join(line for line in lines if line and line[:1] not in b"#;")
    return hmac.digest(nonce, name + b"\0" + significant, "sha256")[:DIGEST_BYTES]


class Verdict(enum.StrEnum):
    """UNKNOWN: one side could not be read."""

    SAME = "same"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


@attrs.frozen
class Comparison:
    """One kind of file of OpenVPN process ``openvpn`` here and at a peer.

    ``text``: a clause for people; "there" is the peer. Empty for SAME.
    """

    kind: FileKind
    openvpn: str
    verdict: Verdict
    text: str = ""


def compare(own: Iterable[OwnFingerprint], theirs: Sequence[Fingerprint]) -> list[Comparison]:
    """Compare what both sides have. What neither uses is left out.

    OpenVPN processes of the same name are compared, and the only one here with the only one there.
    """
    ours = tuple(own)
    here = {item.fingerprint.openvpn for item in ours}
    there = {item.openvpn for item in theirs}
    renamed = dict(zip(there, here, strict=True)) if len(here) == len(there) == 1 else {}
    remote = {(item.kind, renamed.get(item.openvpn, item.openvpn)): item for item in theirs}
    return [
        comparison
        for item in ours
        if (other := remote.get((item.fingerprint.kind, item.fingerprint.openvpn))) is not None
        if (comparison := _compare(item, other)) is not None
    ]


def _compare(own: OwnFingerprint, other: Fingerprint) -> Comparison | None:
    mine = own.fingerprint

    def result(verdict: Verdict, text: str = "") -> Comparison:
        return Comparison(mine.kind, mine.openvpn, verdict, text)

    if mine.why or other.why:
        where = "here" if mine.why else "there"
        return result(Verdict.UNKNOWN, f"{where}: {mine.why or printable_name(other.why.encode())}")
    if mine.digests == other.digests:
        return result(Verdict.SAME) if mine.digests else None
    if mine.kind is FileKind.CCD:
        return result(Verdict.DIFFERS, _entries(own, frozenset(_split(other.digests))))
    if not (mine.digests and other.digests):
        place, other_place = ("here", "there") if mine.digests else ("there", "here")
        return result(Verdict.DIFFERS, f"it is set {place}, and not {other_place}")
    return result(Verdict.DIFFERS, "another one is used there")


def _entries(own: OwnFingerprint, theirs: frozenset[bytes]) -> str:
    missing = sorted(name for digest, name in own.names.items() if digest not in theirs)
    extra = len(theirs - own.names.keys())
    named = ", ".join(map(printable_name, missing[:MAX_NAMED]))
    if len(missing) > MAX_NAMED:
        named += f" and {len(missing) - MAX_NAMED} more"
    clauses = []
    if missing:
        clauses.append(f"missing or different there: {named}")
    if extra:
        files = "1 file" if extra == 1 else f"{extra} files"
        clauses.append(f"{files} there missing or different here")
    return "; ".join(clauses)


def _split(digests: bytes) -> Iterator[bytes]:
    return (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))
