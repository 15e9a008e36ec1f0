"""`cuberouted completion`."""

from __future__ import annotations

from typing import cast

import click

from cuberouted.cli.completion.scripts import SHELLS
from cuberouted.cli.completion.words import commands


@click.command(short_help="Print the completion of bash, zsh or fish.")
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script with which a shell completes the commands and options of cuberouted.

    \b
    eval "$(cuberouted completion bash)"        in ~/.bashrc
    source <(cuberouted completion zsh)         in ~/.zshrc, after compinit
    cuberouted completion fish | source         in ~/.config/fish/config.fish

    The package and `cuberouted setup` install the scripts for all users.
    """  # noqa: D301 - \b is click's own mark
    click.echo(script(cast("click.Group", context.find_root().command), shell), nl=False)


def script(program: click.Group, shell: str) -> str:
    """The script for *shell*, a key of `SHELLS`."""
    return SHELLS[shell](commands(program))
