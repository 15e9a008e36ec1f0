"""How the demo looks: titles, plain sentences, commands with their output, figures.

Sparing with colour, none where there is no terminal or NO_COLOR is set (rich sees to it).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from tests.lab.server import Server

WIDTH = 88


class DemoOutput:
    """Writes the story to standard output."""

    def __init__(self) -> None:
        out = Console(highlight=False)
        self._out = Console(
            highlight=False, width=min(WIDTH, out.width) if out.is_terminal else WIDTH
        )

    def title(self, text: str) -> None:
        """Begins a scene."""
        self._out.print("\n", Text(text, style="bold underline"), "\n", sep="")

    def say(self, text: str) -> None:
        """A paragraph."""
        self._out.print(Text(text), end="\n\n")

    def draw(self, picture: str) -> None:
        """A picture, line by line as it is."""
        self._verbatim(picture.splitlines(), "cyan")

    def command(self, server: Server, command: str, output: str) -> None:
        """A command on a server, and what it wrote."""
        self._out.print(Text(f"  {server.name}# {command}", style="bold"), soft_wrap=True)
        self._verbatim(output.splitlines())

    def measured(self, seconds: float, what: str) -> None:
        """A time, and what it is the time of."""
        figure = f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
        self._out.print(Text(f"  {figure:>8}", style="bold green"), Text(what), sep="  ")

    def matrix(self, names: Sequence[str], answered: Mapping[tuple[str, str], bool]) -> None:
        """Who reaches whom: a row for each that pings, a column for each that is pinged."""
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
