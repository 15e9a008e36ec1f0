"""What the documents tell users to write, as the tests write it."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
DOCUMENTS = (PROJECT / "docs/install.md", *sorted((PROJECT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"^( *)```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def block(begin: str) -> str:
    """The first block that begins with *begin*, without its indentation.

    docs/install.md is searched first, then the rest of docs/.

    Raises:
      AssertionError: there is none.
    """
    for document in DOCUMENTS:
        for indent, text in _BLOCK.findall(document.read_text("utf-8")):
            plain = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
            if plain.startswith(begin):
                return plain
    raise AssertionError(f"no block in docs/ begins with {begin!r}")


def drop_in(name: str) -> str:
    """The unit's drop-in of that name."""
    return (PROJECT / "systemd/drop-ins" / f"{name}.conf").read_text("utf-8")
