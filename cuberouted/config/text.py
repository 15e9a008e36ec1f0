"""The file's form: sections of ``key = value`` lines. What keys there are is not known here.

A line is ``key = value``, ``[kind]``, ``[kind NAME]`` or nothing; ``#`` begins a comment at the
start of a line and behind white space.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import attrs

from cuberouted.model import printable_name


@attrs.frozen
class ConfigProblem:
    """One mistake. ``line`` counts from 1; None: something is missing, or the whole file is bad.

    ``key`` is None where no key is concerned; ``what`` says what is wrong and what would be right.
    """

    path: Path
    line: int | None
    key: str | None
    what: str

    def __str__(self) -> str:
        where = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.what) if part)


class ConfigError(Exception):
    """A configuration that cannot be used, with every reason at once, in the file's order."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


MAX_PROBLEMS = 100
"""With so many the file is something else, and nobody reads on."""


class Diagnostics:
    """The problems found so far in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[ConfigProblem] = []

    def add(self, line: int | None, key: str | None, what: str) -> None:
        """One more, at *line*, or about the file as a whole.

        Raises:
          ConfigError: there are MAX_PROBLEMS.
        """
        self._found.append(ConfigProblem(self._path, line, key, what))
        if len(self._found) == MAX_PROBLEMS:
            self.raise_any()

    def raise_any(self) -> None:
        """Do nothing if there are none.

        Raises:
          ConfigError: all of them, what is missing first and then line by line.
        """
        if self._found:
            raise ConfigError(tuple(sorted(self._found, key=lambda found: found.line or 0)))


_COMMENT = re.compile(r"(?:^|\s)#.*")
_ENTRY = re.compile(r"([A-Za-z0-9_.-]{1,64})\s*=\s*(.*)")
UNREADABLE = "?"
"""The kind of a section whose header could not be read, and has been complained about."""
_SHOWN = 60
"""How much of somebody's text is repeated in a message."""


class Entry(NamedTuple):
    """``key = text`` in line ``line``."""

    line: int
    text: str


@attrs.frozen
class Section:
    """A header and what stands under it.

    ``kind`` "" is what precedes the first header; a header without a name leaves ``name`` "".
    """

    kind: str
    name: str
    line: int
    entries: dict[str, Entry] = attrs.Factory(dict)

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return f"[{_printable(self.kind)} {_printable(self.name)}]" if self.kind else "the node"


def quote(text: str) -> str:
    """*text* in quotes, cut short, with nothing unprintable in it."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return f"'{_printable(cut)}'"


def _printable(text: str) -> str:
    return printable_name(text.encode("utf-8", "backslashreplace"))


def read_sections(text: str, complaints: Diagnostics) -> list[Section]:
    """The sections of *text*, the nameless first one always among them.

    A section that comes twice is given twice. A key that comes twice in a section counts
    as it stood first.

    Raises:
      ConfigError: at once for what is no text at all.
    """
    sections = [Section("", "", 0)]
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        complaints.add(line, None, "a NUL byte: this is not a text file")
        complaints.raise_any()
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line_text = _COMMENT.sub("", raw.strip(), count=1).strip()
        if line_text.startswith("["):
            sections.append(_header(number, line_text, complaints))
        elif line_text:
            _add_entry(sections[-1], number, line_text, complaints)
    return sections


def _header(number: int, text: str, complaints: Diagnostics) -> Section:
    words = text[1:-1].split()
    if not text.endswith("]") or not 1 <= len(words) <= 2:
        complaints.add(number, None, f"{quote(text)} is no section: as in [peer NAME]")
        return Section(UNREADABLE, "", number)
    return Section(words[0], "".join(words[1:]), number)


def _add_entry(section: Section, number: int, text: str, complaints: Diagnostics) -> None:
    match = _ENTRY.fullmatch(text)
    if match is None:
        complaints.add(number, None, f"{quote(text)} is not understood: write key = value")
        return
    key, value = match.groups()
    if not value:
        complaints.add(number, key, "has no value: write one, or remove the line")
    if key in section.entries:
        first = section.entries[key].line
        complaints.add(number, key, f"is set in line {first} already: keep one of the two")
        return
    section.entries[key] = Entry(number, value)
