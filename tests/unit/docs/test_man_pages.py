"""Man pages: which there are, and what they have instead of tables and links."""

from __future__ import annotations

import pytest
from cuberouted_docs.man_pages import lists_for_tables, man_pages, names_for_links
from cuberouted_docs.man_writer import ManPageTranslator
from docutils import nodes
from docutils.core import publish_doctree
from sphinx import addnodes
from sphinx.writers.manpage import ManualPageTranslator

from cuberouted.cli.main import main

TABLE = """
===== =======
key   meaning
===== =======
``q`` quit
``s`` sort
===== =======

===== ======== =====
shell file     line
===== ======== =====
fish  *f*      begin
zsh            end
===== ======== =====
"""


def test_the_program_its_file_and_every_command_have_one():
    pages = {(name, section) for _, name, _, _, section in man_pages(main)}
    commands = {name for name, command in main.commands.items() if not command.hidden}
    assert pages == {
        ("cuberouted", 8),
        ("cuberouted.conf", 5),
        *((f"cuberouted-{name}", 1) for name in commands),
    }


def test_descriptions_begin_in_lower_case_and_have_no_full_stop():
    for _, _, description, _, _ in man_pages(main):
        assert description[0].islower()
        assert not description.endswith(".")


def test_a_table_becomes_a_list():
    document = publish_doctree(TABLE)
    lists_for_tables(document)
    assert [item.astext() for item in document.findall(nodes.definition_list_item)] == [
        "q\n\nquit",
        "s\n\nsort",
        "fish\n\nfile: f\n\nline: begin",
        "zsh\n\nline: end",
    ]
    assert not list(document.findall(nodes.table))


def test_a_link_becomes_its_text_or_the_name_of_a_man_page():
    document = publish_doctree("`elsewhere <https://a.example/>`__")
    page = addnodes.pending_xref("", nodes.inline("", "cuberouted-why(1)"), reftarget="why.md")
    file = addnodes.download_reference("", "", nodes.literal("", "file"), reftarget="a.conf")
    document += nodes.paragraph("", "", page, file)
    names_for_links(document)
    assert [type(child) for child in document[1]] == [nodes.strong, nodes.Text, nodes.literal]
    assert document[1].astext() == "cuberouted-why(1)file"
    (reference,) = document.findall(nodes.reference)
    assert reference["refuri"] == "https://a.example/"


@pytest.mark.parametrize(
    ("page", "begin"),
    [(".TH A\n.TS\n", "'\\\" t\n.TH"), ("'\\\" t\n.TS\n", "'\\\" t\n.TS"), (".TH", ".TH")],
)
def test_a_page_with_a_table_says_so_in_its_first_line(page, begin, monkeypatch):
    monkeypatch.setattr(ManualPageTranslator, "astext", lambda _: page)
    assert ManPageTranslator.astext(object.__new__(ManPageTranslator)).startswith(begin)
