"""Plain text, as in help texts and comments, as Markdown. Pure."""

from __future__ import annotations

import re

CODE = re.compile(r"(`[^`]+`)")
SPECIAL = re.compile(r"([\\*_\[\]<>#|])")
PAGE = re.compile(r"\bdocs/([a-z-]+)\.md\b")


def escape(text: str) -> str:
    """*text* with every character escaped that Markdown would take for markup."""
    return SPECIAL.sub(r"\\\1", text)


def markdown(text: str, docs: str = "") -> str:
    """A paragraph of plain *text* as Markdown.

    What is in backquotes stays as it is. A page that is named as docs/NAME.md becomes a link to
    it; *docs* is the way to the directory docs/ from the page that gets the text.
    """
    parts = CODE.split(" ".join(text.split()))
    return "".join(part if CODE.fullmatch(part) else _plain(part, docs) for part in parts)


def _plain(text: str, docs: str) -> str:
    parts = PAGE.split(text)  # what is around the names of pages, and the names between
    parts[::2] = [escape(part) for part in parts[::2]]
    parts[1::2] = [f"[docs/{name}.md]({docs}{name}.md)" for name in parts[1::2]]
    return "".join(parts)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of *text*: what is between empty lines."""
    return [part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip()]
