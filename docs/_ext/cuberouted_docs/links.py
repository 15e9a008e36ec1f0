"""Links between the documents and the other files of the project. Pure.

The documents are read in the project as well as from HTML. A page in docs/ may link to README.md
and conf/; the HTML pages have the former as a page of their own, and of the latter the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from posixpath import normpath, relpath

LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
EXTERNAL = re.compile(r"[a-z]+:")

PAGES: Mapping[str, str] = {
    "README.md": "docs/readme.md",
    "SECURITY.md": "docs/security.md",
    "CHANGELOG.md": "docs/changelog.md",
}
"""Files of the project that the HTML pages have as pages: their paths there."""


def relink(text: str, source: str, page: str, is_directory: Callable[[str], bool]) -> str:
    """*text* of the file *source*, with its links as they have to be in *page*.

    Paths are relative to the project. A directory has no page: its link becomes text.
    """

    def replace(match: re.Match[str]) -> str:
        target, anchor = match["target"], match["anchor"] or ""
        if not target or EXTERNAL.match(target):
            return match[0]
        path = normpath(f"{source}/../{target}")
        if is_directory(path):
            return match["text"]
        return f"[{match['text']}]({relpath(PAGES.get(path, path), f'{page}/..')}{anchor})"

    return LINK.sub(replace, text)
