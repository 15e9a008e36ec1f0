"""What is done with the text of a page: markers, links, anchors."""

from __future__ import annotations

import pytest
from cuberouted_docs.anchors import slug
from cuberouted_docs.html_links import Page, broken_links
from cuberouted_docs.links import relink
from cuberouted_docs.markers import MarkerError, fill
from cuberouted_docs.text import markdown


def test_a_marker_is_replaced_with_what_stands_for_it():
    page = "# T\n\n<!-- generated: list a b -->\nshown by others\n<!-- end -->\n\nrest\n"
    assert fill(page, {"list": lambda *words: f"{words}\n"}) == "# T\n\n('a', 'b')\n\nrest\n"


def test_an_unknown_marker_is_an_error():
    with pytest.raises(MarkerError, match=r"unknown kind 'tree' of generated text: not in a, b"):
        fill("<!-- generated: tree -->\n<!-- end -->\n", {"b": str, "a": str})


@pytest.mark.parametrize(
    ("source", "page", "link", "expected"),
    [
        ("docs/a.md", "docs/a.md", "[x](b.md#c)", "[x](b.md#c)"),
        ("docs/a.md", "docs/a.md", "[x](#c)", "[x](#c)"),
        ("docs/a.md", "docs/a.md", "[x](https://b.example/c)", "[x](https://b.example/c)"),
        ("docs/a.md", "docs/a.md", "[x](../README.md#c)", "[x](readme.md#c)"),
        ("docs/commands/a.md", "docs/commands/a.md", "[x](../../README.md)", "[x](../readme.md)"),
        ("docs/a.md", "docs/a.md", "[x](../conf/dir)", "x"),
        ("README.md", "docs/readme.md", "[x](docs/b.md#c)", "[x](b.md#c)"),
        ("README.md", "docs/readme.md", "[x](conf/file)", "[x](../conf/file)"),
    ],
)
def test_links_lead_to_the_same_from_another_page(source, page, link, expected):
    assert relink(f"a {link} b", source, page, lambda path: path == "conf/dir") == f"a {expected} b"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("What /readyz means", "what-readyz-means"),
        ("peer_down", "peer_down"),
        ("[peer NAME]: one section a peer", "peer-name-one-section-a-peer"),
    ],
)
def test_an_anchor_is_that_of_viewers_of_markdown(title, expected):
    assert slug(title) == expected


def test_plain_text_becomes_markdown():
    assert markdown("a *\n  b_c `d_*` [e] docs/web.md.", "../") == (
        r"a \* b\_c `d_*` \[e\] [docs/web.md](../web.md)."
    )


def test_links_that_lead_nowhere_are_found():
    pages = {
        "a.html": Page(
            '<a href="#x"></a><a id="x" href="b/c.html#y"></a><a href="b/c.html#z"></a>'
            '<a href="https://d.example/none"></a><a href="_downloads/e.conf"></a>'
        ),
        "b/c.html": Page('<h2 id="y"></h2><a href="../a.html"></a><a href="d.html"></a>'),
    }
    assert broken_links(pages, lambda path: path == "_downloads/e.conf") == [
        "a.html: b/c.html#z: no such anchor",
        "b/c.html: d.html: no such file",
    ]
