from __future__ import annotations

import re
import time
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.api.selection import MAX_PATTERN, Selection, SelectionError
from cuberouted.model import Prefix


@pytest.mark.parametrize(
    ("target", "name", "prefix"),
    [
        ("host1", "host1", None),
        ("*", "*", None),
        ("1234", "1234", None),
        ("cafe", "cafe", None),
        ("10.9.0.1", "", "10.9.0.1/32"),
        ("10.9.0.0/24", "", "10.9.0.0/24"),
        ("fd00::1", "", "fd00::1/128"),
        ("::/0", "", "::/0"),
        ("anna@10.9.0.1", "anna@10.9.0.1", None),
    ],
)
def test_a_target_is_a_name_or_a_prefix(target, name, prefix):
    selection = Selection.of(target=target)
    assert (selection.name, selection.node) == (name, "")
    assert selection.prefix == (Prefix.parse(prefix) if prefix else None)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"target": "10.9.0"}, "prefix: '10.9.0' is not an IP address (examples: 10.100.100.14"),
        ({"target": "10.9.0.300"}, "'10.9.0.300' is not an IP address"),
        ({"target": "10.9.0.1/33"}, "prefix: not a prefix: 4 bytes / 33 (examples"),
        ({"target": "10.9.0.1/24"}, "10.9.0.1/24 has host bits set; the network is 10.9.0.0/24"),
        ({"target": "fd00::1/64"}, "has host bits set; the network is fd00::/64"),
        ({"target": ""}, f"name: must have 1 to {MAX_PATTERN} characters"),
        ({"name": "x" * 1001}, f"name: must have 1 to {MAX_PATTERN} characters"),
        ({"node": ""}, "node: must have 1 to"),
        ({"target": "a", "name": "b"}, "'a' and --name cannot be given together"),
        ({"target": "::1", "prefix": "::/0"}, "'::1' and --prefix cannot be given together"),
    ],
)
def test_what_is_wrong_is_told_with_what_would_be_right(given, text):
    with pytest.raises(SelectionError, match=re.escape(text)):
        Selection.of(**given)


def test_nothing_given_selects_everything():
    everything = Selection.of()
    assert not everything
    assert everything.query == ""
    assert everything.matches("A", "")
    assert everything.contains(Prefix.parse("::"))


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("host1", "host1", True),
        ("host1", "host12", False),
        ("host?", "host1", True),
        ("h*1", "h1", True),
        ("Host1", "host1", False),
        ("[ab]", "[ab]", True),
        ("[ab]", "a", False),
        ("[!a]*", "[!a] x", True),
        ("a.c", "abc", False),
        ("a\\*", "a\\b", True),
        ("é*", "élan", True),
    ],
)
def test_only_star_and_question_mark_are_special(pattern, name, matches):
    assert Selection.of(name=pattern).matches("A", name) is matches


@given(st.text(min_size=1, max_size=40))
def test_every_name_matches_itself(name):
    assert Selection.of(name=name).matches("A", name)


def test_no_pattern_takes_long():
    selection = Selection.of(name="*a" * 400)
    started = time.process_time()
    assert not selection.matches("A", "a" * 399 + "b" * 113)
    assert time.process_time() - started < 1


def test_the_query_has_what_is_given():
    selection = Selection.of(node="A", name="a&b =", prefix="10.9.0.1")
    assert parse_qs(selection.query.removeprefix("?")) == {
        "node": ["A"],
        "name": ["a&b ="],
        "prefix": ["10.9.0.1/32"],
    }
    assert str(selection) == "node A and name a&b = and prefix 10.9.0.1/32"
