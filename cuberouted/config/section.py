"""Converts the entries of a section by the fields in `schema`, and reports each wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import attrs

from cuberouted.config.schema import (
    SECTIONS,
    SHORTHANDS,
    Config,
    OpenVPNConfig,
    PeerConfig,
    ServiceConfig,
    key_fields,
)
from cuberouted.config.text import Diagnostics, Section

ConfigT = TypeVar("ConfigT", Config, PeerConfig, OpenVPNConfig, ServiceConfig)


@attrs.frozen
class ParsedSection(Generic[ConfigT]):
    """A section and its values. The keys in ``invalid`` have been reported and have no value."""

    section: Section
    values: ConfigT
    invalid: frozenset[str]
    diagnostics: Diagnostics

    @property
    def title(self) -> str:
        """The section as messages name it."""
        return self.section.title

    @property
    def place(self) -> str:
        """`` in [peer B]`` for messages on a missing key; empty for the node's keys."""
        return f" in {self.title}" if self.section.line else ""

    def has(self, key: str) -> bool:
        """Whether the file sets *key* here, to a valid or an invalid value."""
        return key in self.section.entries

    def line(self, key: str) -> int | None:
        """The line that sets *key*, or else that of the header, or None."""
        entry = self.section.entries.get(key)
        return entry.line if entry else self.section.line or None

    def written(self, key: str) -> str:
        """*key* as this section writes it: the shorthand where there is no header."""
        shorthand: str = key_fields(type(self.values))[key].metadata["shorthand"]
        return key if self.section.line or not shorthand else shorthand

    def report(self, key: str, what: str) -> None:
        """Report a problem with *key*."""
        self.diagnostics.add(self.line(key), self.written(key), what)

    def report_section(self, what: str) -> None:
        """Report a problem with the section as a whole."""
        self.diagnostics.add(self.section.line, self.title, what)

    def require(self, key: str) -> None:
        """Report *key* as missing unless the file sets it here."""
        if not self.has(key):
            meaning = key_fields(type(self.values))[key].metadata["meaning"]
            self.report(key, f"is missing{self.place}: {meaning}")


def parse_section(
    section: Section, config: type[ConfigT], diagnostics: Diagnostics, **other_fields: Any
) -> ParsedSection[ConfigT]:
    """Convert all entries of *section*. *other_fields*: those of *config* that are no keys."""
    fields = key_fields(config)
    kwargs: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for key, entry in section.entries.items():
        if key not in fields:
            diagnostics.add(entry.line, key, _unknown_key(key, section.kind))
        elif entry.text:  # a missing value has been reported by `read_sections`
            try:
                kwargs[key] = fields[key].metadata["convert"](entry.text)
            except ValueError as error:
                errors[key] = str(error)
    invalid = frozenset(section.entries.keys() & fields.keys() - kwargs.keys())
    parsed = ParsedSection(section, config(**other_fields, **kwargs), invalid, diagnostics)
    for key, what in errors.items():
        parsed.report(key, what)
    return parsed


def split_shorthands(first: Section) -> dict[str, Section]:
    """Split the section before the first header into one section for each kind.

    The shorthand keys of a node with one peer or OpenVPN process become the entries of a section
    without a header: ``remote_mgmt_ip`` is ``mgmt_ip`` of the section of kind "peer".
    """
    sections = {kind: Section(kind, "", 0) for kind in SECTIONS}
    for written, entry in first.entries.items():
        kind, key = SHORTHANDS.get(written, ("", written))
        sections[kind].entries[key] = entry
    return sections


def key_names(kind: str) -> tuple[str, ...]:
    """The keys that a section of *kind* may contain."""
    return (*key_fields(SECTIONS[kind]), *(() if kind else SHORTHANDS))


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of *known* that is most similar to *word*."""
    plain = word.lower().replace("-", "_")
    return difflib.get_close_matches(plain, known, n=1, cutoff=0.0)[0]


def _unknown_key(key: str, kind: str) -> str:
    for other in SECTIONS:
        if key in key_names(other):
            place = f"in a [{other} NAME] section" if other else "before the first section"
            close = difflib.get_close_matches(key, key_names(kind), n=1)
            return f"belongs {place}" + (f"; the nearest key here is {close[0]}" if close else "")
    return f"unknown key; the nearest is {nearest(key, key_names(kind))}"
