"""Commands in the process of the test, with standard output and standard error apart."""

from __future__ import annotations

import inspect
from typing import Any

from click.testing import CliRunner  # noqa: TID251

# click before 8.2 has to be told
_APART: dict[str, Any] = {
    name: False for name in inspect.signature(CliRunner).parameters if name == "mix_stderr"
}


def cli_runner() -> CliRunner:
    """A runner of commands."""
    return CliRunner(**_APART)
