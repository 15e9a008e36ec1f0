"""The pure scripts of the page, in a tab of Chromium."""

from __future__ import annotations

from importlib import resources
from typing import Any

from playwright.sync_api import Page

import cuberouted.web

PURE = ("text.js", "prefix.js", "mesh.js", "search.js", "findings.js")
"""They touch neither the document nor the network, nor what is defined elsewhere."""

NAMES = (
    *("Mesh", "makeClient", "parsePrefix", "contains", "findClients", "sortClients", "findings"),
    *("verdictOf", "summaryOf", "duration", "age", "plural"),
)
"""What the tests use of them; these become global."""


def load(page: Page) -> None:
    """Run the scripts in *page*, as one, which is how the page has them."""
    directory = resources.files(cuberouted.web) / "page"
    source = "\n".join((directory / name).read_text("utf-8") for name in PURE)
    page.evaluate(f"(() => {{ {source}\nObject.assign(globalThis, {{ {', '.join(NAMES)} }}); }})()")


def call(page: Page, function: str, *arguments: Any) -> Any:
    """What the JavaScript *function* returns for *arguments*."""
    return page.evaluate(f"(given) => ({function})(...given)", list(arguments))
