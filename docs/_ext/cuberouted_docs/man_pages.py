"""What man pages have otherwise than HTML pages: which there are, and tables as lists."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
from docutils import nodes
from sphinx import addnodes

from cuberouted_docs.commands import summary

ManPage = tuple[str, str, str, str, int]
"""Page in docs/, name, description, authors, section: as Sphinx wants it in `man_pages`."""

MAN_PAGE = re.compile(r"(?P<page>[\w.-]+)(?P<section>\(\d\))")
"""The text of a link to a man page."""

TERM_AND_MEANING = 2
"""Columns of a table that a man page has as a list."""


def man_pages(group: click.Group) -> list[ManPage]:
    """The man pages: of the program, of its configuration, and of each command."""
    about = "share routes between OpenVPN servers of one client subnet"
    pages: list[ManPage] = [
        ("cuberouted", "cuberouted", about, "", 8),
        ("configuration", "cuberouted.conf", "configuration of cuberouted", "", 5),
    ]
    for name, command in sorted(group.commands.items()):
        if not command.hidden:
            text = summary(command)
            description = text[0].lower() + text[1:]
            pages.append((f"commands/{name}", f"cuberouted-{name}", description, "", 1))
    return pages


def prepare(document: nodes.document) -> None:
    """Change *document* as a man page needs it."""
    lists_for_tables(document)
    names_for_links(document)


def names_for_links(document: nodes.document) -> None:
    """Replace each link to another page by its text, and to a man page by the name of that.

    Whether the links lead somewhere is found out when the HTML pages are built.
    """
    for link in reversed(list(document.findall(_is_link))):  # inner ones first
        name = MAN_PAGE.fullmatch(link.astext())
        if name is None:
            link.replace_self(link.children)
        else:
            link.replace_self([nodes.strong("", name["page"]), nodes.Text(name["section"])])


def _is_link(node: nodes.Node) -> bool:
    kinds = (addnodes.pending_xref, addnodes.download_reference, nodes.reference)
    return isinstance(node, kinds) and "://" not in node.get("refuri", "")


def lists_for_tables(document: nodes.document) -> None:
    """Make a definition list of each table with two columns: nroff's tables are hard to read."""
    for table in list(document.findall(nodes.table)):
        rows = [list(row) for row in table.findall(nodes.row)]
        if all(len(row) == TERM_AND_MEANING for row in rows):
            body = [list(row) for tbody in table.findall(nodes.tbody) for row in tbody]
            table.replace_self(definition_list(body))


def definition_list(rows: Sequence[Sequence[nodes.Element]]) -> nodes.definition_list:
    """A definition list of *rows* with two cells each."""
    found = nodes.definition_list()
    for first, second in rows:
        term = nodes.term("", "", *(child for part in first for child in part.children))
        found += nodes.definition_list_item("", term, nodes.definition("", *second.children))
    return found
