from __future__ import annotations

from pathlib import Path

import pytest

from cuberouted.config.text import ConfigError, Diagnostics, Entry, Section, quote, read_sections


def sections(text: str) -> list[Section]:
    diagnostics = Diagnostics(Path("f"))
    found = read_sections(text, diagnostics)
    diagnostics.raise_any()
    return found


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        sections(text)
    return str(caught.value)


def test_keys_before_the_first_header_form_a_section_of_their_own():
    node, peer = sections("a=1\n\n  b  =  2 = 3  \r\n[ peer  B ]\na = 4")
    assert node == Section("", "", 0, {"a": Entry(1, "1"), "b": Entry(3, "2 = 3")})
    assert peer == Section("peer", "B", 4, {"a": Entry(5, "4")})


def test_comments_begin_at_the_line_start_or_after_white_space():
    node, _peer = sections("# a = 1\n\t# x\na = x#y # z # z\n[peer B] # two")
    assert node.entries == {"a": Entry(3, "x#y")}


def test_byte_order_mark_is_ignored():
    assert sections("\ufeffa = 1")[0].entries == {"a": Entry(1, "1")}


def test_empty_file_has_one_empty_section():
    assert sections("") == [Section("", "", 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nhello", "f:2: 'hello' is not a valid line: write key = value"),
        ("= 3", "f:1: '= 3' is not a valid line: write key = value"),
        ("a b = 3", "f:1: 'a b = 3' is not a valid line: write key = value"),
        ("x" * 65 + " = 3", f"f:1: '{'x' * 60}...' is not a valid line: write key = value"),
        ("a =", "f:1: a: has no value: add one, or remove the line"),
        ("a = # 3", "f:1: a: has no value: add one, or remove the line"),
        ("a = 1\na = 1", "f:2: a: is already set in line 1: remove one of the two"),
        ("[peer B", "f:1: '[peer B' is not a valid section header (example: [peer NAME])"),
        ("[]", "f:1: '[]' is not a valid section header (example: [peer NAME])"),
        ("[peer B C]", "f:1: '[peer B C]' is not a valid section header (example: [peer NAME])"),
        (
            "[peer B] a = 1",
            "f:1: '[peer B] a = 1' is not a valid section header (example: [peer NAME])",
        ),
        ("\na\0b\n\0", "f:2: NUL byte: this is not a text file"),
        ("\x1b[31m", r"f:1: '\x1b[31m' is not a valid line: write key = value"),
    ],
)
def test_malformed_lines_are_reported(text, message):
    assert problem(text) == message


def test_quoted_text_is_short_and_printable():
    assert quote("a\u2028\ud800" + "x" * 100) == "'a\\u2028\\ud800" + "x" * 57 + "...'"
