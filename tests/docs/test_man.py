"""The man pages, as man(1) reads them."""

from __future__ import annotations

import re
import subprocess


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_they_are_formatted_without_a_warning(man):
    assert len(man) > 15
    for page in man:
        # as lintian does
        done = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page))
        assert (page.name, done.stderr) == (page.name, "")


def test_their_names_are_found_by_whatis(man):
    found = run("lexgrog", *map(str, man)).stdout
    names = re.findall(r': "(\S+) - ', found)
    assert names == [page.stem for page in man]


def test_listings_have_no_font_that_some_groff_does_not_know(man):
    assert [
        page.name for page in man if re.search(r"^\.ft", page.read_text("utf-8"), re.MULTILINE)
    ] == []


def test_a_command_has_the_usual_sections(man):
    (page,) = (page for page in man if page.name == "cuberouted-check.1")
    sections = re.findall(r"^\.SH (.*)$", page.read_text("utf-8"), re.MULTILINE)
    assert sections == [
        "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO",
    ]  # fmt: skip


def test_there_are_no_links_or_control_characters_in_the_text(man):
    for page in man:
        text = page.read_text("utf-8")
        assert text.replace("\n", "").isprintable(), page
        assert not re.search(r"<#|<>|\]\(|\.html\b", text), page
