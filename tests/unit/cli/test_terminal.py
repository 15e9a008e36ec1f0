from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.cli.terminal import Terminal, cell_len, cut


class Tty(io.StringIO):
    encoding = "ascii"

    def isatty(self):
        return True


@pytest.fixture
def tty(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setenv("LINES", "20")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return monkeypatch


def test_a_terminal_has_a_size_and_colours(tty):
    assert Terminal.of(Tty()) == Terminal(72, 20, colours=True, encoding="ascii")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_switched_off(tty, name, value):
    tty.setenv(name, value)
    assert Terminal.of(Tty()) == Terminal(72, 20, colours=False, encoding="ascii")


def test_an_empty_no_color_means_nothing(tty):
    tty.setenv("NO_COLOR", "")
    assert Terminal.of(Tty()).colours


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_what_is_no_terminal_has_no_width(stream):
    assert Terminal.of(stream) == Terminal()


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("ascii", "j\\xfcrg \\u65e5"), ("latin-1", "jürg \\u65e5"), ("UTF-8", "jürg 日")],
)
def test_what_the_encoding_lacks_is_escaped(encoding, text):
    assert Terminal(encoding=encoding).show("jürg 日") == text


def test_text_is_wrapped_at_words():
    wrapped = Terminal(20).wrap("problem: the quick brown fox jumps", 9)
    assert wrapped.splitlines() == ["problem: the quick", "         brown fox", "         jumps"]


def test_a_command_is_never_broken():
    command = "`ip route del 10.100.100.10/32 dev tun1`,"
    text = f"it is wrong: remove it by {command} or not"
    assert Terminal(20).wrap(text, 2).splitlines() == [
        "it is wrong: remove",
        "  it by",
        f"  {command}",
        "  or not",
    ]


def test_a_pipe_gets_one_line():
    assert Terminal().wrap("word " * 100, 2) == "word " * 100


@pytest.mark.parametrize(
    ("text", "width", "result"),
    [
        ("host1", 5, "host1"),
        ("host12", 5, "host…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\N{COMBINING ACUTE ACCENT}e\N{COMBINING ACUTE ACCENT}xyz", 3, "e\u0301e\u0301…"),
    ],
)
def test_a_cut_text_has_at_most_that_width(text, width, result):
    assert cut(text, width, "…") == result


@given(st.text(max_size=40), st.integers(8, 40))
def test_any_text_can_be_cut(text, width):
    assert cell_len(cut(text, width, "…")) <= width
