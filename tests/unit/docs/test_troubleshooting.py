"""docs/troubleshooting.md has every verdict of `why`, and every state of a peer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuberouted.daemon.why import packets, service, verdict
from cuberouted.peering.events import PeerState

PAGE = (Path(__file__).parents[3] / "docs/troubleshooting.md").read_text("utf-8")

OMITTED = {
    "a client without a name",
    "not a service",  # a mistake in the program, not a verdict
    "where it was configured, or by ip",  # of `ip rule del`, which is printed
    "rule del priority",
    "sysctl -w net.ipv4.conf",
}
"""Parts of sentences that the page does not need."""


def plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def sentences(source: str) -> Iterator[str]:
    """The parts of sentences in a module that do not depend on values."""
    nodes = list(ast.walk(ast.parse(source)))
    documentation = {node.value for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and node not in documentation:
            text = plain(str(node.value).strip(" ,;:.()"))
            if " " in text:
                yield text


@pytest.mark.parametrize(
    "module", [verdict, service, packets], ids=["verdict", "service", "packets"]
)
def test_every_verdict_is_explained(module):
    found = set(sentences(Path(module.__file__).read_text("utf-8"))) - OMITTED
    assert len(found) > 10
    assert {text for text in found if text not in plain(PAGE)} == set()


def test_every_state_of_a_peer_is_explained():
    assert [state.value for state in PeerState if f"`{state.value}`" not in PAGE] == []
