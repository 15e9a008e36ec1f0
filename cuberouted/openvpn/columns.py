"""Where the columns of a status listing are, by the names in its HEADER rows."""

from __future__ import annotations

from collections.abc import Callable

import attrs

FREE_TEXT = ("Common Name", "Username")
"""Columns whose values may hold commas, the separator of version 2."""


class MissingColumnError(Exception):
    """A column that has to be there is not; str() names it."""


@attrs.frozen
class Columns:
    """One table's columns: ``names`` as in its HEADER row from the table's own name on.

    So a row's field 0 is the table's name, and position 0 stands for "no such column".
    """

    names: tuple[str, ...]

    def at(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> tuple[int, ...]:
        """The positions of these columns in a row; 0 for an optional one that is not there.

        Raises:
          MissingColumnError: a required one is not there.
        """
        missing = [name for name in required if name not in self.names]
        if missing:
            raise MissingColumnError(", ".join(missing))
        names = (*required, *optional)
        return tuple(self.names.index(name) if name in self.names else 0 for name in names)

    def fit(
        self, fields: list[bytes], plausible: Callable[[list[bytes]], bool]
    ) -> list[bytes] | None:
        """*fields*, a row cut at every comma, with those joined again that are one value.

        None: it cannot be this table's row. Of several plausible ways, the one that gives
        most to the common name: a user name that holds commas is rarer than ``Surname, Given``.
        """
        extra = len(fields) - len(self.names)
        free = [self.names.index(name) for name in FREE_TEXT if name in self.names]
        if extra < 0 or not free:
            return None
        first, last = free[0], free[-1]
        for in_first in range(extra, -1 if last != first else extra - 1, -1):
            cut = _joined(_joined(fields, first, in_first), last, extra - in_first)
            if plausible(cut):
                return cut
        return None


def _joined(fields: list[bytes], at: int, extra: int) -> list[bytes]:
    return [*fields[:at], b",".join(fields[at : at + extra + 1]), *fields[at + extra + 1 :]]
