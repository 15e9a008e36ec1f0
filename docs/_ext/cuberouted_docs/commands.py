"""The reference of a command as Markdown, from what `--help` shows. Pure.

Synopsis, description, options and exit status are sections, as man-pages(7) names them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from cuberouted_docs.text import escape, markdown, paragraphs

COMMON = frozenset({"config", "socket", "help"})
"""Options of every command, which the page of the program describes."""

AS_IT_IS = "\b\n"
"""What click has before a paragraph whose lines stay as they are."""

EXIT_STATUS = re.compile(r"Exits? ")
"""How a paragraph of a help text begins that is about the exit status."""


EXTRA = re.compile(r"\s*\[(?P<default>default: [^;\]]*)?[^\]]*\]$")
"""What click adds to the text of an option: its default, and the range of a number."""


def summary(command: click.Command) -> str:
    """The first sentence of the help text, for the line NAME of a man page."""
    first, *_ = _help(command)
    return re.split(r"\.(?:\s|$)", " ".join(first.split()))[0]


def reference(command: click.Command, name: str, docs: str) -> str:
    """Synopsis, description, options and exit status of *command*, which is called as *name*."""
    context = click.Context(command, info_name=name)
    about = [part for part in _help(command) if not EXIT_STATUS.match(part)]
    statuses = [part for part in _help(command) if EXIT_STATUS.match(part)]
    parts = ["## Synopsis", synopsis(command, name)]
    parts += ["## Description", *(_paragraph(part, docs) for part in about)]
    options = list(_definitions(command, context, docs))
    if any(_is_common(parameter) for parameter in command.params):
        page = f"[cuberouted(8)]({docs}cuberouted.md#options)"
        options.append(f"{page} describes the options of all commands: `-c`, `--socket`, `-h`.")
    if options:
        parts += ["## Options", *options]
    common = f"[cuberouted(8)]({docs}cuberouted.md#exit-status) has what all commands exit with."
    parts += ["## Exit status", *(markdown(part, docs) for part in statuses), common]
    return "\n\n".join(parts) + "\n"


def program_options(group: click.Command, docs: str) -> str:
    """The options of the program itself, with those that all commands have."""
    context = click.Context(group, info_name="cuberouted", **group.context_settings)
    common = [_definition(p, context, docs) for p in group.get_params(context)]
    return "\n\n".join(part for part in common if part) + "\n"


def command_list(group: click.Group, directory: str) -> str:
    """All commands with their summaries; *directory*: where their pages are."""
    return "\n\n".join(
        f"[cuberouted-{name}(1)]({directory}{name}.md)\n: {markdown(summary(command))}."
        for name, command in group.commands.items()
        if not command.hidden
    )


def synopsis(command: click.Command, name: str) -> str:
    """The command with all its options and arguments, as in SYNOPSIS of a man page."""
    options = [p for p in command.params if isinstance(p, click.Option) and not _is_common(p)]
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    words = [f"**{name}**", *map(_option_use, options), *map(_argument_use, arguments)]
    return " ".join(words)


def _option_use(option: click.Option) -> str:
    flag = "|".join(f"**{name}**" for name in option.opts)
    value = "" if option.is_flag else f" *{escape(_metavar(option))}*"
    return rf"\[{flag.replace('|', '&#124;')}{value}\]{'...' if option.multiple else ''}"


def _argument_use(argument: click.Argument) -> str:
    metavar = argument.metavar or (argument.name or "").upper()
    name = f"*{escape(metavar.strip('[]'))}*"
    return name if argument.required else rf"\[{name}\]"


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name.upper().removesuffix(" RANGE")


def _is_common(parameter: click.Parameter) -> bool:
    return parameter.name in COMMON


def _definitions(command: click.Command, context: click.Context, docs: str) -> Iterator[str]:
    for parameter in command.params:
        if not _is_common(parameter):
            definition = _definition(parameter, context, docs)
            if definition:
                yield definition


def _definition(parameter: click.Parameter, context: click.Context, docs: str) -> str:
    record = parameter.get_help_record(context)
    if record is None or not isinstance(parameter, click.Option):
        return ""
    # short ones first: click 8.1.3 has those of --help in any order
    names = ", ".join(f"`{name}`" for name in sorted(parameter.opts, key=len))
    value = "" if parameter.is_flag or parameter.count else f" *{escape(_metavar(parameter))}*"
    text = EXTRA.sub(lambda match: f" ({match['default']})" if match["default"] else "", record[1])
    return f"{names}{value}\n: {markdown(text, docs)}"


def _paragraph(text: str, docs: str) -> str:
    """A paragraph of a help text as Markdown."""
    if text.startswith(AS_IT_IS):
        return f"```\n{text.removeprefix(AS_IT_IS)}\n```"
    return markdown(text, docs)


def _help(command: click.Command) -> list[str]:
    """The paragraphs of the help text."""
    return paragraphs(inspect.cleandoc(command.help or ""))
