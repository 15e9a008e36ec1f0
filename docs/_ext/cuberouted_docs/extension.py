"""The connection with Sphinx: what is generated where, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from cuberouted.cli.main import main
from cuberouted_docs import commands, configuration, html_links, links, markers
from cuberouted_docs.anchors import add_anchors
from cuberouted_docs.man_pages import prepare
from cuberouted_docs.man_writer import ManPageTranslator

PROJECT = Path(__file__).resolve().parents[3]
REFERENCE = PROJECT / "conf/cuberouted.conf.reference"


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.set_translator("man", ManPageTranslator)
    app.connect("source-read", _fill_page)
    app.connect("doctree-read", _change_tree)
    app.connect("build-finished", _check_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill_page(app: Sphinx, name: str, source: list[str]) -> None:
    page = f"docs/{name}.md"
    docs = "../" * name.count("/")

    def command(name: str) -> str:
        return commands.reference(main.commands[name], f"cuberouted {name}", docs)

    def file(path: str) -> str:
        return links.relink((PROJECT / path).read_text("utf-8"), path, page, _is_directory)

    generators: dict[str, markers.Generator] = {
        "command": command,
        "commands": lambda: commands.command_list(main, f"{docs}commands/"),
        "options": lambda: commands.program_options(main, docs),
        "configuration": lambda: configuration.reference(REFERENCE.read_text("utf-8")),
        "syntax": lambda: configuration.introduction(REFERENCE.read_text("utf-8")),
        "overview": lambda: "" if app.builder.name == "man" else configuration.overview(),
        "file": file,
    }
    own = links.relink(source[0], page, page, _is_directory)
    try:
        source[0] = markers.fill(own, generators)
    except markers.MarkerError as error:
        raise ExtensionError(f"{page}: {error}") from error


def _is_directory(path: str) -> bool:
    return (PROJECT / path).is_dir()


def _change_tree(app: Sphinx, document: nodes.document) -> None:
    if app.builder.name == "man":
        prepare(document)
    else:
        add_anchors(document)


def _check_links(app: Sphinx, exception: Exception | None) -> None:
    """Fail if a link in the HTML pages leads nowhere. Sphinx checks those that it resolves."""
    if exception is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    paths = [f"{name}.html" for name in app.env.found_docs]
    pages = {path: html_links.Page((out / path).read_text("utf-8")) for path in paths}
    broken = html_links.broken_links(pages, lambda path: (out / path).exists())
    if broken:
        raise ExtensionError("\n".join(["links that lead nowhere:", *broken]))
