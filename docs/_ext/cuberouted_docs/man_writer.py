"""How Sphinx writes a man page, with corrections."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.writers.manpage import ManualPageTranslator

LAYOUT = ".nr HY 0\n.nh\n.ad l\n"
"""No hyphens in names that are to be copied (HY: neither after an example), no gaps in lines."""

TABLES = "'\\\" t\n"
"""First line of a page that has to be preprocessed by tbl(1)."""


class ManPageTranslator(ManualPageTranslator):
    """Sphinx's, for text that is copied, and without requests that mandoc(1) warns about."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # docutils 0.19 has a font (.ft C) that groff 1.23 does not know
        self.defs["literal_block"] = (".sp\n.EX\n", "\n.EE\n")

    def header(self) -> str:
        """What the page begins with."""
        return super().header().replace(".SH NAME", f"{LAYOUT}.SH NAME")

    def astext(self) -> str:
        """The page. The first line of one with tables names tbl(1), as man(7) demands."""
        page = str(super().astext())
        return TABLES + page if "\n.TS\n" in page and not page.startswith(TABLES) else page

    def first_child(self, node: nodes.Node) -> bool:
        """Whether there is no space to be made before *node*, as there is none after a title."""
        before = node.parent[node.parent.index(node) - 1]
        return bool(super().first_child(node)) or isinstance(before, nodes.title)
