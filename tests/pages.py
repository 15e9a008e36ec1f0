"""The blocks of code of the project's pages, for the tests that run or check them.

What a block is, a reader and this module see by its first line and by the paragraph above it:

- ``# /etc/cuberouted.conf``: a file of that name; ``# in /etc/cuberouted.conf``: lines of it;
- ``vpnsrvA# cuberouted clients``: a command with its output;
- anything else: what its page says, in tutorials commands.

A paragraph "On **vpnsrvA** and **vpnsrvB**:" names the hosts that it is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

PROJECT = Path(__file__).parents[1]
PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("**/*.md")))

FILE = re.compile(r"# (in )?(/[\w.@/-]+)$")
PROMPT = re.compile(r"(\w+)# (.*)")
HOST = re.compile(r"\*\*(\w+)\*\*")


@attrs.frozen
class Block:
    """A block of code: its text, and the paragraph above it.

    ``hosts`` are those that a paragraph "On **HOST**" has named last.
    """

    page: Path
    line: int
    text: str
    hosts: tuple[str, ...]

    def __str__(self) -> str:
        """Its place, as a test's id."""
        return f"{self.page.name}:{self.line}"

    @property
    def path(self) -> str | None:
        """The name of the file that it is, or of which it is a part."""
        match = FILE.match(self._first)
        return match[2] if match else None

    @property
    def is_part(self) -> bool:
        """Whether it is lines of a file, not the whole."""
        match = FILE.match(self._first)
        return bool(match and match[1])

    @property
    def session(self) -> list[tuple[str, str, list[str]]]:
        """Host, command and the lines that it prints, of each command with a prompt."""
        found: list[tuple[str, str, list[str]]] = []
        for line in self.text.splitlines():
            if match := PROMPT.fullmatch(line):
                found.append((match[1], match[2], []))
            elif found:
                found[-1][2].append(line)
            else:
                return []
        return found

    @property
    def _first(self) -> str:
        return self.text.partition("\n")[0]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of *page*, in its order."""
    hosts: tuple[str, ...] = ()
    text: list[str] | None = None
    indent = ""
    begin = 0
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if text is not None:
            if line == f"{indent}```":
                yield Block(page, begin, "".join(text), hosts)
                text = None
            else:
                text.append(line.removeprefix(indent) + "\n")
        elif match := re.fullmatch(r"( *)```\w*", line):
            text, indent, begin = [], match[1], number
        elif line.startswith("On **"):
            hosts = tuple(HOST.findall(line))


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in PAGES for block in blocks(page)]
