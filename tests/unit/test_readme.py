"""README.md and the pages of docs/: files, links and commands that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cuberouted.cli.main import main
from tests.pages import PAGES, PROJECT, all_blocks

README = (PROJECT / "README.md").read_text("utf-8")
INSTALL = (PROJECT / "docs/install.md").read_text("utf-8")


def block(begin: str) -> str:
    (found,) = (block.text for block in all_blocks() if block.text.startswith(begin))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    named = re.findall(
        r"(?<![\w/@.:-])(?:systemd|conf|docs|tests)/[\w./@-]*\w(?![\w*])", page.read_text("utf-8")
    )
    missing = [name for name in named if not (PROJECT / name).exists()]
    assert missing == []


def test_what_is_installed_is_removed_as_well():
    removed = block("cuberouted setup --uninstall").split()
    install = block("umask 022\n/usr/bin/python3")
    installed = set(re.findall(r"/(?:usr|etc|opt)/\S*?cuberouted[\w.]*", install))
    assert installed == {"/opt/cuberouted", "/usr/local/bin/cuberouted"}
    assert "cuberouted setup" in install.splitlines()
    drop_ins = "/etc/systemd/system/cuberouted.service.d"
    assert installed | {drop_ins, "/etc/cuberouted.conf"} <= set(removed)


def test_what_the_pages_have_written_to_the_host_is_removed_as_well():
    drop_in = (PROJECT / "systemd/drop-ins/openvpn-socket.conf").read_text("utf-8")
    texts = [page.read_text("utf-8") for page in PAGES]
    written = set(
        re.findall(
            r"/etc/(?:sysctl\.d|tmpfiles\.d|credstore|iproute2|systemd/network)[\w./-]*/[\w.-]*\w",
            "\n".join((*texts, drop_in)).replace("cuberouted-key.new", "cuberouted-key"),
        )
    )
    assert len(written) >= 7
    assert written <= set(block("rm -f /etc/credstore").split())


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        other = page.parent / target if target else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other.read_text("utf-8")), f"{target}#{anchor}"


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for page in (PROJECT / "docs").rglob("*.md"):
        for body in re.findall(
            r"^```{toctree}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
        ):
            names = [line for line in body.splitlines() if line and not line.startswith(":")]
            names = [re.sub(r".* <(\S+)>$", r"\1", name) for name in names]
            listed |= {page.parent / f"{name}.md" for name in names}
    pages = set((PROJECT / "docs").rglob("*.md")) - {PROJECT / "docs/index.md"}
    assert pages - listed == set(), "add them to docs/index.md"
    assert listed - pages == set(), "there are no such pages"


def test_every_command_is_described():
    commands = {name for name, command in main.commands.items() if not command.hidden}
    assert {page.stem for page in (PROJECT / "docs/commands").glob("*.md")} == commands
    page = (PROJECT / "docs/commands.md").read_text("utf-8")
    assert set(re.findall(r"\(commands/(\S+)\.md\)", page)) == commands


def test_a_path_in_a_message_leads_to_a_page():
    for source in sorted((PROJECT / "cuberouted").rglob("*.py")):
        for name in re.findall(r"\bdocs/[\w-]+\.md", source.read_text("utf-8")):
            assert (PROJECT / name).exists(), f"{source}: {name}"
        assert "README.md" not in source.read_text("utf-8"), source


def test_the_reference_names_pages_that_exist():
    reference = (PROJECT / "conf/cuberouted.conf.reference").read_text("utf-8")
    named = [Path(name) for name in re.findall(r"\bdocs/[\w-]+\.md", reference)]
    assert named
    assert all((PROJECT / name).exists() for name in named)
