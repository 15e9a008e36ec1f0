from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cuberouted.check.finding import Finding, Level
from cuberouted.check.verdict import report
from cuberouted.cli.render_check import PIPED_WIDTH, console, render_check

COMMAND = "sysctl -w net/ipv4/conf/tun0/forwarding=1 net/ipv4/conf/default/forwarding=1"
WELL = Finding(Level.OK, "interface-missing", "tun0", "is up")
WRONG = Finding(
    Level.PROBLEM, "forwarding-off", "IPv4 forwarding", "is off", "or for every interface", COMMAND
)


def shown(*findings, verbose=False, terminal=False, width=PIPED_WIDTH):
    out = io.StringIO()
    page = Console(
        file=out,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        highlight=False,
        _environ={"TERM": "xterm"},  # not that of whoever runs the tests
    )
    render_check(report(findings, complete=True), verbose, page)
    return out.getvalue()


def test_what_is_no_terminal_gets_whole_lines():
    assert console().width == PIPED_WIDTH  # pytest captures


def test_where_all_is_well_two_lines_are_enough():
    assert shown(WELL, WELL) == "2 checks passed\ncuberouted would work on this host\n"


def test_what_is_not_right_has_its_reason_its_cure_and_its_place_in_the_documentation():
    indent = " " * 16
    assert shown(WELL, WRONG).splitlines() == [
        "problem         IPv4 forwarding: is off",
        f"{indent}{WRONG.check.why}",
        f"{indent}or for every interface",
        f"{indent}    {COMMAND}",
        f"{indent}see docs/checks.md#forwarding-off",
        "",
        "1 check passed",
        "1 problem: IPv4 forwarding",
    ]


def test_what_is_right_is_a_line_each_where_it_is_asked_for():
    first, *_ = shown(WELL, WRONG, verbose=True).splitlines()
    assert first == "ok              tun0: is up"
    assert shown(WELL, verbose=True).splitlines() == [
        first,
        "",
        "1 check passed",
        "cuberouted would work on this host",
    ]


def test_a_narrow_terminal_gets_short_lines_but_whole_commands():
    lines = shown(WRONG, terminal=True, width=60).splitlines()
    assert f"{' ' * 20}{COMMAND}" in lines
    assert max(len(line) for line in lines if COMMAND not in line) <= 70  # escapes count as well


def test_a_terminal_gets_colours():
    assert "\x1b[31mproblem" in shown(WRONG, terminal=True)
    assert "\x1b" not in shown(WRONG)


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[bold", ":smile:", "\\[a]", "[[1]]"])
def test_a_name_is_shown_as_it_is_and_never_as_markup(name):
    finding = Finding(Level.WARNING, "interface-missing", name, name, name, name)
    assert shown(finding).count(name) == 5  # the verdict names it as well


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(texts, texts, st.sampled_from(Level), st.booleans(), st.integers(1, 200))
def test_odd_words_never_stop_a_report(subject, text, level, terminal, width):
    finding = Finding(level, "interface-missing", subject, text, text, text)
    assert shown(finding, verbose=True, terminal=terminal, width=width)
