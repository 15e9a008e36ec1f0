"""Standard output for what is rendered by rich."""

from __future__ import annotations

from rich.console import Console

PIPED_WIDTH = 500
"""Columns if the output is not a terminal: no line is cut or wrapped."""


def console() -> Console:
    """Standard output. NO_COLOR is respected."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=PIPED_WIDTH)
