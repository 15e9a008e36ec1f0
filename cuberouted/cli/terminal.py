"""Where output goes: a terminal of some size, or a pipe; and text for it."""

from __future__ import annotations

import codecs
import os
import re
import shutil
from typing import TextIO

import attrs

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
"""ECMA-48 SGR parameters that every terminal has, readable on a dark and on a light background."""


@attrs.frozen
class Terminal:
    """A terminal, or whatever else standard output is.

    ``width``: columns, or None if it is no terminal: then lines are neither cut nor wrapped, and
    cells are such that programs can read them. ``height``: lines. ``encoding``: of the stream.
    """

    width: int | None = None
    height: int = 24
    colours: bool = False
    encoding: str = "utf-8"

    @classmethod
    def of(cls, stream: TextIO | None) -> Terminal:
        """The terminal behind *stream*, None if that is closed. Source: no-color.org."""
        encoding = getattr(stream, "encoding", None) or "utf-8"
        if stream is None or not stream.isatty():
            return cls(encoding=encoding)
        size = shutil.get_terminal_size()
        colours = os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")
        return cls(size.columns, size.lines, colours, encoding)

    @property
    def is_utf8(self) -> bool:
        """Whether every character can be shown."""
        return codecs.lookup(self.encoding).name == "utf-8"

    def show(self, text: str) -> str:
        """*text* as it will be printed: with escapes for what the encoding lacks."""
        if text.isascii() or self.is_utf8:
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def paint(self, text: str, style: str) -> str:
        """*text* in *style*, one of `STYLES` or empty, where the terminal has colours."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style and self.colours else text

    def wrap(self, text: str, indent: int = 0) -> str:
        """*text* with line breaks where the terminal ends, and *indent* spaces after them.

        A command in backticks is never broken, so that it can be copied: if it is longer than the
        line, the terminal breaks it.
        """
        if self.width is None:
            return text
        lines, line = [], ""
        for word in re.findall(r"[^\s`]*`[^`]*`[^\s`]*|\S+", text):
            if line and cell_len(line) + 1 + cell_len(word) > self.width:
                lines.append(line)
                line = " " * indent + word
            else:
                line = f"{line} {word}" if line else word
        return "\n".join([*lines, line])


def cell_len(text: str) -> int:
    """The columns that *text* takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len as rich_cell_len  # 7 ms, and most names are ASCII

    return rich_cell_len(text)


def cut(text: str, width: int, ellipsis: str) -> str:
    """*text* in at most *width* columns. If it is longer, *ellipsis* stands at its end."""
    if cell_len(text) <= width:
        return text
    room = width - len(ellipsis)
    end = 0
    while end < len(text) and cell_len(text[: end + 1]) <= room:
        end += 1
    return text[:end] + ellipsis
