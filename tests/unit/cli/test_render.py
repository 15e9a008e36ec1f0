from __future__ import annotations

import io

from rich.console import Console

from cuberouted.cli import render
from cuberouted.cli.render import PIPED_WIDTH


def printed(function, what, *, terminal=False, width=PIPED_WIDTH):
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        highlight=False,
        _environ={"TERM": "xterm"},  # not that of whoever runs the tests
    )
    function(what, console)
    return out.getvalue()


def test_what_is_no_terminal_gets_whole_lines():
    assert render.console().width == PIPED_WIDTH  # pytest captures
