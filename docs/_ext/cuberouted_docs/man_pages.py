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
    """Make a definition list of each table: nroff's tables are hard to read, and may not fit."""
    for table in list(document.findall(nodes.table)):
        head = [cell.astext() for row in table.findall(nodes.thead) for cell in row[0]]
        rows = [row.children for body in table.findall(nodes.tbody) for row in body]
        items = (_item(head, cells) for cells in rows)
        table.replace_self(nodes.definition_list("", *items))


def _item(head: Sequence[str], cells: Sequence[nodes.Element]) -> nodes.definition_list_item:
    """A row as a term, its first cell, and what the others say, with their titles if several do."""
    first, *others = cells
    definition = nodes.definition()
    for title, cell in zip(head[1:], others, strict=True):
        label = [nodes.Text(f"{title}: ")] if len(others) > 1 and cell.children else []
        definition += [nodes.paragraph("", "", *label, *part.children) for part in cell]
    term = nodes.term("", "", *(child for part in first for child in part.children))
    return nodes.definition_list_item("", term, definition)
