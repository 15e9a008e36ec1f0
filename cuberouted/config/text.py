"""The syntax of the file: sections of ``key = value`` lines. The keys themselves are in `schema`.

A line is ``key = value``, ``[kind]``, ``[kind NAME]`` or empty. A ``#`` at the start of a line or
after white space begins a comment.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import attrs

from cuberouted.model import printable_name

MAX_PROBLEMS = 100
"""Parsing stops at so many: the file is probably not a configuration."""

MAX_QUOTE = 60
"""Characters of the file's text that a message repeats."""

UNREADABLE = "?"
"""The kind of a section with a malformed header, which has been reported already."""

_COMMENT = re.compile(r"(?:^|\s)#.*")
_ENTRY = re.compile(r"([A-Za-z0-9_.-]{1,64})\s*=\s*(.*)")


@attrs.frozen
class ConfigProblem:
    """One mistake in a configuration.

    ``line`` counts from 1; None: a required key is missing, or the whole file is unusable.
    ``key``: the key or section concerned, or None. ``what``: what is wrong and how to correct it.
    """

    path: Path
    line: int | None
    key: str | None
    what: str

    def __str__(self) -> str:
        where = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.what) if part)


class ConfigError(Exception):
    """An unusable configuration, with all its problems in the order of the file."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class Diagnostics:
    """Collects the problems of one file, so that all are reported at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problems: list[ConfigProblem] = []

    def add(self, line: int | None, key: str | None, what: str) -> None:
        """Add a problem in *line*; None: it concerns the file as a whole.

        Raises:
          ConfigError: this is problem number MAX_PROBLEMS.
        """
        self._problems.append(ConfigProblem(self._path, line, key, what))
        if len(self._problems) == MAX_PROBLEMS:
            self.raise_any()

    def raise_any(self) -> None:
        """Return if there are no problems.

        Raises:
          ConfigError: all problems, those without a line first, then in the order of the lines.
        """
        if self._problems:
            raise ConfigError(tuple(sorted(self._problems, key=lambda problem: problem.line or 0)))


class Entry(NamedTuple):
    """A line ``key = text``; ``text`` is empty if the value is missing."""

    line: int
    text: str


@attrs.frozen
class Section:
    """A header and the entries below it, by key.

    ``kind`` is "" for the entries before the first header. ``name`` is "" in a header without a
    name. ``line`` is that of the header; 0: there is none.
    """

    kind: str
    name: str
    line: int
    entries: dict[str, Entry] = attrs.Factory(dict)

    @property
    def title(self) -> str:
        """The section as messages name it: ``[peer B]``, or ``the node``."""
        return f"[{_printable(f'{self.kind} {self.name}'.strip())}]" if self.line else "the node"


def read_sections(text: str, diagnostics: Diagnostics) -> list[Section]:
    """Split *text* into sections; the first one is what precedes all headers.

    Sections are not merged: one that occurs twice is returned twice. If a key occurs twice in a
    section, the first occurrence counts.

    Raises:
      ConfigError: *text* contains a NUL byte.
    """
    sections = [Section("", "", 0)]
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        diagnostics.add(line, None, "NUL byte: this is not a text file")
        diagnostics.raise_any()
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line_text = _COMMENT.sub("", raw.strip(), count=1).strip()
        if line_text.startswith("["):
            sections.append(_read_header(number, line_text, diagnostics))
        elif line_text:
            _add_entry(sections[-1], number, line_text, diagnostics)
    return sections


def quote(text: str) -> str:
    """*text* in quotation marks, shortened to MAX_QUOTE, with unprintable characters escaped."""
    short = text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "..."
    return f"'{_printable(short)}'"


def _printable(text: str) -> str:
    return printable_name(text.encode("utf-8", "backslashreplace"))


def _read_header(number: int, text: str, diagnostics: Diagnostics) -> Section:
    words = text[1:-1].split()
    if not text.endswith("]") or not 1 <= len(words) <= 2:
        what = f"{quote(text)} is not a valid section header (example: [peer NAME])"
        diagnostics.add(number, None, what)
        return Section(UNREADABLE, "", number)
    return Section(words[0], "".join(words[1:]), number)


def _add_entry(section: Section, number: int, text: str, diagnostics: Diagnostics) -> None:
    match = _ENTRY.fullmatch(text)
    if match is None:
        diagnostics.add(number, None, f"{quote(text)} is not a valid line: write key = value")
        return
    key, value = match.groups()
    if not value:
        diagnostics.add(number, key, "has no value: add one, or remove the line")
    if key in section.entries:
        first = section.entries[key].line
        diagnostics.add(number, key, f"is already set in line {first}: remove one of the two")
        return
    section.entries[key] = Entry(number, value)
