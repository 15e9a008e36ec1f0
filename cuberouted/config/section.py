"""A section's text -> its keys' values, by the table in `keys`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import attrs

from cuberouted.config.schema import KINDS, UNAVAILABLE, Keys, NodeKeys, OpenVPNKeys, PeerKeys
from cuberouted.config.text import Diagnostics, Section

K = TypeVar("K", NodeKeys, PeerKeys, OpenVPNKeys)


@attrs.frozen
class ParsedSection(Generic[K]):
    """A section with its values. Keys in ``bad`` were complained of, and hold their default."""

    section: Section
    keys: K
    bad: frozenset[str]

    def has(self, key: str) -> bool:
        """Whether the file sets *key* here, rightly or wrongly."""
        return key in self.section.entries

    def line(self, key: str) -> int | None:
        """Where *key* is set, or else where the section begins."""
        entry = self.section.entries.get(key)
        return entry.line if entry else self.section.line or None

    def require(self, key: str, complaints: Diagnostics) -> None:
        """Complain unless the file sets *key* here."""
        if not self.has(key):
            meaning = attrs.fields_dict(type(self.keys))[key].metadata["meaning"]
            where = f" in {self.section.title}" if self.section.kind else ""
            complaints.add(self.line(key), key, f"is missing{where}: {meaning}")


def parse_section(section: Section, keys: type[K], complaints: Diagnostics) -> ParsedSection[K]:
    """Read every value of *section*, and complain of each that is wrong or unknown."""
    fields = attrs.fields_dict(keys)
    values: dict[str, Any] = {}
    bad: set[str] = set()
    for key, entry in section.entries.items():
        if key not in fields:
            complaints.add(entry.line, key, _unknown(key, section.kind))
        elif not entry.text:
            bad.add(key)
        else:
            try:
                values[key] = fields[key].metadata["read"](entry.text)
            except ValueError as error:
                complaints.add(entry.line, key, str(error))
                bad.add(key)
    return ParsedSection(section, keys(**values), frozenset(bad))


def key_names(kind: str) -> tuple[str, ...]:
    """The keys that a section of *kind* may hold."""
    keys: type[Keys] = KINDS[kind]
    return tuple(attrs.fields_dict(keys))


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of *known* that *word* most likely was to be."""
    plain = word.lower().replace("-", "_")
    return difflib.get_close_matches(plain, known, n=1, cutoff=0.0)[0]


def _unknown(key: str, kind: str) -> str:
    if key in UNAVAILABLE[kind]:
        return f"is not available yet ({UNAVAILABLE[kind][key]}): remove the line"
    for other in KINDS:
        if key in key_names(other) or key in UNAVAILABLE[other]:
            place = f"in a [{other} NAME] section" if other else "before the first section"
            near = difflib.get_close_matches(key, key_names(kind), n=1)
            return f"belongs {place}" + (f"; the nearest key here is {near[0]}" if near else "")
    return f"is unknown; the nearest known key is {nearest(key, key_names(kind))}"
