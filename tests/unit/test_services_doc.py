"""docs/services.md shows the files in conf/ that the lab runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cuberouted.config import load

PROJECT = Path(__file__).parents[2]
DOC = (PROJECT / "docs/services.md").read_text("utf-8")
BLOCKS: list[str] = re.findall(r"^ *```\n(.*?)^ *```$", DOC, re.MULTILINE | re.DOTALL)


def block(words: str) -> list[str]:
    """The lines of the one block that has *words*, without empty ones."""
    (found,) = (text for text in BLOCKS if words in text)
    return [line for line in found.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "file"),
    [("priority = 200\ncheck = ", "services/vpnsrvA"), ("[openvpn frontend1]", "roles/vpnsrvB")],
)
def test_a_section_is_as_in_the_file(words, file):
    lines = (PROJECT / f"conf/{file}.conf").read_text("utf-8").splitlines()
    shown = [line for line in block(words) if not line.startswith("#")]
    assert len(shown) > 3
    assert [line for line in lines if line in shown and not line.startswith("#")][
        -len(shown) :
    ] == shown


def test_the_priorities_of_roles_are_those_of_the_files():
    servers = ("vpnsrvA", "vpnsrvB", "vpnsrvC")
    configs = [load(PROJECT / f"conf/roles/{server}.conf") for server in servers]
    for role in ("frontend1", "frontend2"):
        row = re.search(rf"^\| {role} \| (\d+) \| (\d+) \| (\d+) \|$", DOC, re.MULTILINE)
        assert row
        priorities = [s.priority for c in configs for s in c.services if s.name == role]
        assert priorities == [int(number) for number in row.groups()]


def test_the_units_of_the_polkit_rule_are_those_that_are_started():
    config = load(PROJECT / "conf/roles/vpnsrvA.conf")
    commands = {s.on_acquire for s in config.services} | {s.on_release for s in config.services}
    units = re.findall(r'"(openvpn-server@\w+)\.service"', "\n".join(block("polkit.addRule")))
    assert commands == {
        ("/usr/bin/systemctl", verb, unit) for verb in ("start", "stop") for unit in units
    }


def test_files_that_are_named_exist():
    named = re.findall(r"\]\(([^)#]+)", DOC) + re.findall(r"\btests/lab/\w+\.py", DOC)
    paths = [
        PROJECT / name if name.startswith("tests") else PROJECT / "docs" / name for name in named
    ]
    assert len(paths) > 5
    assert [path for path in paths if not path.exists()] == []
