"""The reference of a command, from click's own texts."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from cuberouted_docs.commands import command_list, program_options, reference, summary, synopsis

from cuberouted.cli.main import main

COMMANDS = {name: command for name, command in main.commands.items() if not command.hidden}
PAGES = Path(__file__).parents[3] / "docs/commands"


@click.command()
@click.option("-n", "--lines", type=click.IntRange(0, 9), default=3, show_default=True, help="L.")
@click.option("--only", metavar="ID", multiple=True, help="Not `all` of * [this].")
@click.option("--way", type=click.Choice(["in", "out"]))
@click.option("--dry", is_flag=True)
@click.option("-h", "--help", is_flag=True)
@click.argument("name", metavar="[NAME]", required=False)
@click.argument("file")
def example(**_options: object) -> None:
    """Show an example: it is one. It has 2.5 pages.

    In NAME, * is any characters; docs/checks.md has more.

    Exits with 1 if there is none.
    """


def test_the_summary_is_the_first_sentence():
    assert summary(example) == "Show an example: it is one"


def test_the_synopsis_has_every_option_and_argument():
    assert synopsis(example, "x example") == (
        r"**x example** \[**-n**&#124;**--lines** *INTEGER*\] \[**--only** *ID*\]..."
        r" \[**--way** *in\|out*\] \[**--dry**\] \[*NAME*\] *FILE*"
    )


def test_the_reference_has_the_sections_of_a_man_page():
    text = reference(example, "x example", "../")
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## Synopsis",
        "## Description",
        "## Options",
        "## Exit status",
    ]
    assert "`-n`, `--lines` *INTEGER*\n: L. (default: 3)\n" in text
    assert "`--only` *ID*\n: Not `all` of \\* \\[this\\].\n" in text
    assert "In NAME, \\* is any characters; [docs/checks.md](../checks.md) has more." in text
    assert "## Exit status\n\nExits with 1 if there is none.\n" in text
    assert text.count("Exits with") == 1


def test_lines_that_stay_as_they_are_become_a_listing():
    command = click.Command("x", help="Do it.\n\n\b\nx *one*\n  x two\n\nDo it well.")
    text = reference(command, "x", "")
    assert "Do it.\n\n```\nx *one*\n  x two\n```\n\nDo it well.\n" in text


def test_a_command_without_options_has_no_such_section():
    assert "## Options" not in reference(click.Command("x", help="Do it."), "x", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_of_a_command_has_its_reference(name):
    page = (PAGES / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# cuberouted {name}\n\n<!-- generated: command {name} -->\n")
    assert "## See also\n" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_in_its_reference(name):
    text = reference(COMMANDS[name], f"cuberouted {name}", "../")
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option) and option.name not in ("config", "socket", "help"):
            assert all(f"`{flag}`" in text and f"**{flag}**" in text for flag in option.opts)
            assert option.help, "an option without a text"


def test_the_options_of_the_program_are_those_of_all_commands():
    text = program_options(main, "")
    assert "`-h`, `--help`\n: " in text
    assert "`-c`, `--config` *PATH*\n: The configuration file. (default: /etc/cuberouted" in text


def test_all_commands_are_listed():
    text = command_list(main, "commands/")
    assert text.count("\n: ") == len(COMMANDS)
    assert "[cuberouted-why(1)](commands/why.md)\n: Show where packets" in text
    assert "run" not in {line.split("(")[0] for line in text.splitlines()}


@pytest.mark.parametrize("names", [["-q", "--quiet"], ["--quiet", "-q"]])
def test_the_short_name_of_an_option_comes_first_in_whatever_order_click_has_them(names):
    option = click.Option(names, is_flag=True, help="Say less.")
    page = program_options(click.Group("program", params=[option]), "..")
    assert "`-q`, `--quiet`\n" in page
