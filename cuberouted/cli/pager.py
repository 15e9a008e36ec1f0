"""Long listings on a terminal go through a pager, as those of git and systemctl do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

import click

from cuberouted.cli.terminal import Terminal

LESS = "FRSXMK"
"""Options of less, as systemd has them: end if all fits the screen, keep colours, do not wrap,
leave the text on the screen, show the position, and end at Ctrl-C."""


def print_lines(lines: Sequence[str], terminal: Terminal, *, paged: bool) -> None:
    """Print *lines*: through the pager if that is allowed and they need more than the screen."""
    text = "".join(line + "\n" for line in lines)
    command = pager(os.environ) if paged and needs_pager(lines, terminal) else ""
    if not command or not _print_paged(text, command, terminal):
        click.echo(text, nl=False)


def needs_pager(lines: Sequence[str], terminal: Terminal) -> bool:
    """Whether *lines* and the prompt of the shell are more than fits the screen."""
    dumb = os.environ.get("TERM", "dumb") == "dumb"  # less would warn, and wait
    return terminal.width is not None and not dumb and len(lines) >= terminal.height


def pager(environment: Mapping[str, str]) -> str:
    """The shell command that ``PAGER`` names, or less; empty if there shall be none."""
    default = "less" if shutil.which("less") else ""
    command = environment.get("PAGER", default).strip()
    return "" if command == "cat" else command


def _print_paged(text: str, command: str, terminal: Terminal) -> bool:
    """Print *text* through *command*. Return False if it cannot be run."""
    environment = {
        "LESS": LESS,
        "LV": "-c",
        **os.environ,
        # no shell out of less where only this command is allowed by sudo (CVE-2023-26604)
        "LESSSECURE": "1",
    }
    if terminal.is_utf8:
        environment["LESSCHARSET"] = "utf-8"
    process = subprocess.Popen(  # noqa: S602 - PAGER is a shell command (environ(7))
        command, shell=True, stdin=subprocess.PIPE, env=environment
    )
    # Ctrl-C is for the pager: this program must not end before it, and only ends after it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.communicate(text.encode(terminal.encoding, "backslashreplace"))
    return process.returncode not in _NOT_RUN


_NOT_RUN = frozenset({126, 127})
"""Exit statuses of a shell that cannot run a command (POSIX, Shell Command Language 2.8.2)."""
