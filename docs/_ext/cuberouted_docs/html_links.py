"""The check of the links in the HTML pages: each leads to a file, and to an anchor in it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from posixpath import normpath
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the link or the anchor of an element."""
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(str(values["id"]))
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))


def broken_links(pages: Mapping[str, Page], exists: Callable[[str], bool]) -> list[str]:
    """A sentence on each link in *pages*, by path, that leads nowhere.

    *exists*: whether there is a file that is not a page. Links to other sites are not looked at.
    """
    return [
        f"{path}: {link}: no such {'anchor' if target in pages else 'file'}"
        for path, page in pages.items()
        for link in page.links
        if (url := urlsplit(link)) and not url.scheme
        for target in [normpath(f"{path}/../{unquote(url.path)}") if url.path else path]
        if not _leads_somewhere(pages.get(target), url.fragment, exists(target))
    ]


def _leads_somewhere(page: Page | None, anchor: str, is_file: bool) -> bool:
    if page is None:
        return is_file
    return not anchor or unquote(anchor) in page.anchors
