"""What is wrong with a configuration, as values and as lines for people."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen
class Problem:
    """One mistake. ``line`` counts from 1; None: something is missing, or the whole file is bad.

    ``key`` is None where no key is concerned; ``what`` says what is wrong and what would be right.
    """

    path: Path
    line: int | None
    key: str | None
    what: str

    def __str__(self) -> str:
        where = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.what) if part)


class ConfigError(Exception):
    """A configuration that cannot be used, with every reason at once, in the file's order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


MAX_PROBLEMS = 100
"""With so many the file is something else, and nobody reads on."""


class Complaints:
    """The problems found so far in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[Problem] = []

    def add(self, line: int | None, key: str | None, what: str) -> None:
        """One more, at *line*, or about the file as a whole.

        Raises:
          ConfigError: there are MAX_PROBLEMS.
        """
        self._found.append(Problem(self._path, line, key, what))
        if len(self._found) == MAX_PROBLEMS:
            self.raise_any()

    def raise_any(self) -> None:
        """Do nothing if there are none.

        Raises:
          ConfigError: all of them, what is missing first and then line by line.
        """
        if self._found:
            raise ConfigError(tuple(sorted(self._found, key=lambda found: found.line or 0)))
