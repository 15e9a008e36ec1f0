"""Every check is documented, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cuberouted.check.catalogue import CHECKS

DOCUMENTATION = (Path(__file__).parents[3] / "docs/checks.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"(?ms)^### (\S+)\n\n(.*?)(?=^##|\Z)", DOCUMENTATION))


def test_every_check_has_a_section_and_every_section_is_a_check():
    assert SECTIONS.keys() == CHECKS.keys()


@pytest.mark.parametrize("check", CHECKS.values(), ids=str)
def test_a_section_begins_with_the_title_of_its_check(check):
    assert SECTIONS[check.id].startswith(f"**{check.title}.** ")


@pytest.mark.parametrize("check", CHECKS.values(), ids=str)
def test_an_id_is_words_and_the_reason_a_sentence(check):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", check.id)
    assert check.why[0].isupper() or check.why.startswith(("systemd", "cuberouted"))
    assert check.why.endswith(".")
