"""Stable anchors in the HTML pages: those that viewers of Markdown give to headings, and more.

docutils makes an anchor of a title in its own way: ``peer_down`` becomes ``peer-down``. A link
from outside, such as `runbook_url` of an alert, needs the one that it has in the Markdown file.
"""

from __future__ import annotations

import re

from docutils import nodes

NAME = re.compile(r"[A-Za-z0-9_.-]+")


def slug(title: str) -> str:
    """The anchor of a heading, as viewers of Markdown make it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def add_anchors(document: nodes.document) -> None:
    """Give each section its `slug`, and each row of a table the name in its first cell."""
    for section in document.findall(nodes.section):
        title = section.next_node(nodes.title)
        if title is not None:
            _add(document, section, slug(title.astext()))
    for row in document.findall(nodes.row):
        name = row[0].next_node(nodes.literal) if len(row) else None
        if name is not None and NAME.fullmatch(name.astext()):
            _add(document, row, name.astext())


def _add(document: nodes.document, node: nodes.Element, name: str) -> None:
    """Add the anchor *name*, unless the page has it already."""
    if name not in document.ids:
        node["ids"].append(name)
        document.ids[name] = node
