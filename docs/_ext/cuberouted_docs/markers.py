"""The places in a page that get generated text. Pure.

A place begins with the line ``<!-- generated: KIND WORDS -->`` and ends with ``<!-- end -->``. What
stands between is for viewers of plain Markdown, and replaced. They do not show the markers, which
are comments of HTML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

MARKER = re.compile(
    r"^<!-- generated: (?P<kind>[a-z-]+)(?P<words>(?: \S+)*) -->\n.*?^<!-- end -->\n",
    re.MULTILINE | re.DOTALL,
)

Generator = Callable[..., str]
"""From the words of a marker to Markdown."""


class MarkerError(Exception):
    """A marker that nothing is generated for."""


def fill(page: str, generators: Mapping[str, Generator]) -> str:
    """*page* with the text of *generators* in the place of its markers. Raises MarkerError."""

    def generate(match: re.Match[str]) -> str:
        generator = generators.get(match["kind"])
        if generator is None:
            kinds = ", ".join(sorted(generators))
            raise MarkerError(f"unknown kind {match['kind']!r} of generated text: not in {kinds}")
        return generator(*match["words"].split())

    return MARKER.sub(generate, page)
