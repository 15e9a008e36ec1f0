"""Output of the demo: titles, paragraphs, commands with their output, times, tables.

No colour without a terminal, or where NO_COLOR is set (rich does that).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from tests.lab.server import Server

WIDTH = 88


class DemoOutput:
    """Writes to standard output."""

    def __init__(self) -> None:
        out = Console(highlight=False)
        self._out = Console(
            highlight=False, width=min(WIDTH, out.width) if out.is_terminal else WIDTH
        )

    def title(self, text: str) -> None:
        """The title of a scene."""
        self._out.print("\n", Text(text, style="bold underline"), "\n", sep="")

    def text(self, text: str) -> None:
        """A paragraph."""
        self._out.print(Text(text), end="\n\n")

    def draw(self, picture: str) -> None:
        """A drawing, verbatim."""
        self._verbatim(picture.splitlines(), "cyan")

    def command(self, server: Server, command: str, output: str) -> None:
        """A command on a server, and its output."""
        self._out.print(Text(f"  {server.name}# {command}", style="bold"), soft_wrap=True)
        self._verbatim(output.splitlines())

    def measured(self, seconds: float, what: str) -> None:
        """A measured time, and what it is."""
        figure = f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
        self._out.print(Text(f"  {figure:>8}", style="bold green"), Text(what), sep="  ")

    def matrix(self, names: Sequence[str], answered: Mapping[tuple[str, str], bool]) -> None:
        """Which pings were answered: a row for each source, a column for each destination."""
        self._out.print("  ping from \\ to  " + "".join(f"{name:>8}" for name in names))
        for one in names:
            row = Text(f"  {one:<15} ")
            for other in names:
                row.append(*_cell(one, other, answered))
            self._out.print(row)
        self._out.print()

    def _verbatim(self, lines: Collection[str], style: str = "") -> None:
        for line in lines:
            self._out.print(Text("  " + line, style=style), soft_wrap=True)
        self._out.print()


def _cell(one: str, other: str, answered: Mapping[tuple[str, str], bool]) -> tuple[str, str]:
    if one == other:
        return f"{'-':>8}", "dim"
    return (f"{'yes':>8}", "green") if answered[one, other] else (f"{'no':>8}", "red")
