"""The README's examples: configurations are valid, files that it installs exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cuberouted.cli.main import main
from cuberouted.config import load

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text("utf-8")
BLOCKS: list[str] = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

PEER = "mgmt_interface = tun1\n[peer vpnsrvB]\nmgmt_ip = 10.200.200.5\n"
"""What completes the examples that are parts of a file."""


def block(word: str) -> str:
    (found,) = (text for text in BLOCKS if text.startswith(word))
    return found


@pytest.mark.parametrize(
    "text",
    [
        block("mgmt_interface = "),
        PEER + block("[openvpn udp]"),
        "mgmt_interface = tun1\ndata_interface = tun0\n" + block("secret_key_file = "),
        "data_interface = tun0\n" + block("openvpn_mgmt_port = ") + PEER,
    ],
    ids=["two servers", "two OpenVPN processes", "encryption", "pass-through"],
)
def test_configurations_are_valid(tmp_path, text):
    path = tmp_path / "cuberouted.conf"
    path.write_text(text)
    config = load(path)
    assert len(config.peers) == 1
    # what the unit's user can read
    credentials = Path("/run/credentials/cuberouted.service")
    secrets = [openvpn.mgmt_pass_file for openvpn in config.openvpns] + [config.secret_key_file]
    assert all(secret is None or secret.parent == credentials for secret in secrets)


def test_files_that_are_named_exist():
    named = re.findall(r"(?<![\w/@.])(?:systemd|conf|docs)/[\w./@-]*\w", README)
    assert len(named) >= 10
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_what_is_installed_is_removed_as_well():
    removed = block("systemctl disable").split()
    install = block("umask 022\n/usr/bin/python3")
    installed = set(re.findall(r"/(?:usr|etc|opt)/\S*?cuberouted[\w.]*", install))
    assert len(installed) == 5
    assert installed | {"/etc/systemd/system/cuberouted.service"} <= set(removed)


def test_what_the_readme_has_written_to_the_host_is_removed_as_well():
    drop_in = (PROJECT / "systemd/drop-ins/openvpn-socket.conf").read_text("utf-8")
    written = set(
        re.findall(
            r"/etc/(?:sysctl\.d|tmpfiles\.d|credstore|iproute2|systemd/network)[\w./-]*/[\w.-]*\w",
            README.replace("cuberouted-key.new", "cuberouted-key") + drop_in,
        )
    )
    assert len(written) >= 7
    assert written <= set(block("rm -f ").split())


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in titles}


PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_somewhere(path):
    text = path.read_text("utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        other = path.parent / target if target else path
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
    listed = re.findall(
        r"\(commands/(\S+)\.md\)", (PROJECT / "docs/commands.md").read_text("utf-8")
    )
    assert set(listed) == commands
    assert all(f"`{name}" in README or f"cuberouted {name}`" in README for name in commands)
