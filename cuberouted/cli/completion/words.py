"""What can be completed: commands, their options, and the values of these."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs
import click

MAX_HELP: Final = 200
"""Characters of the help text of a command, which is one line."""

PROGRAM: Final = "cuberouted"


@attrs.frozen
class Values:
    """What an option's value or an argument may be: files, or some words, or unknown."""

    files: bool = False
    words: tuple[str, ...] = ()


@attrs.frozen
class Option:
    """``value`` is None for a flag; ``repeatable``: it may be given more than once."""

    names: tuple[str, ...]
    help: str
    value: Values | None
    repeatable: bool


@attrs.frozen
class Command:
    """A command, or the program itself, whose name is empty."""

    name: str
    help: str
    options: tuple[Option, ...]
    arguments: tuple[Values, ...]

    @property
    def files(self) -> bool:
        """Whether an argument is a file."""
        return any(argument.files for argument in self.arguments)


def commands(group: click.Group) -> list[Command]:
    """The program itself, and then its commands in their order, without hidden ones."""
    root = click.Context(group, info_name=PROGRAM, resilient_parsing=True, **group.context_settings)
    found = [_command("", group, root)]
    for name, command in group.commands.items():
        if not command.hidden:
            context = click.Context(command, parent=root, info_name=name, resilient_parsing=True)
            found.append(_command(name, command, context))
    return found


def _command(name: str, command: click.Command, context: click.Context) -> Command:
    parameters = command.get_params(context)
    return Command(
        name,
        command.get_short_help_str(MAX_HELP).rstrip("."),
        tuple(_options(parameters, context)),
        tuple(_values(p, context) for p in parameters if isinstance(p, click.Argument)),
    )


def _options(parameters: Iterable[click.Parameter], context: click.Context) -> Iterable[Option]:
    for option in parameters:
        if isinstance(option, click.Option) and not option.hidden:
            is_flag = option.is_flag or option.count
            value = None if is_flag else _values(option, context)
            text = (option.help or "").partition("  [")[0].rstrip(".")  # [default: ...]
            names = sorted(option.opts, key=len)  # click 8.1 has those of --help in no order
            yield Option(tuple(names), text, value, option.multiple)


def _values(parameter: click.Parameter, context: click.Context) -> Values:
    items = parameter.shell_complete(context, "")
    return Values(
        any(item.type in {"file", "dir"} for item in items),
        tuple(item.value for item in items if item.type == "plain"),
    )
