"""Which rows of a listing are asked for: the query of a request, and the options of a command.

Pure.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from functools import cached_property
from typing import Annotated
from urllib.parse import urlencode

import attrs
import msgspec

from cuberouted.model import Prefix

MAX_PATTERN = 1000
"""Characters of a pattern; common names have at most 64, or 512 bytes in our messages."""

_LIKE_ADDRESS = re.compile(r"[0-9]+\.[0-9.]*(/.*)?|[0-9a-fA-F]*:[0-9a-fA-F:.]*(/.*)?")


class SelectionError(Exception):
    """A selection that is wrong. The text names the parameter, and what would be right."""


class NodeQuery(msgspec.Struct):
    """The query of a listing of nodes."""

    node: Annotated[
        str | None, msgspec.Meta(description="A node's name; * is any characters, ? is one.")
    ] = None


class Query(NodeQuery):
    """The query of a listing of clients or routes: what is given has to match."""

    name: Annotated[
        str | None, msgspec.Meta(description="A client's name; * is any characters, ? is one.")
    ] = None
    prefix: Annotated[
        str | None, msgspec.Meta(description="An address or network, and what lies in it.")
    ] = None


@attrs.frozen(slots=False)
class Selection:
    """A row is selected if it matches all that is given; empty, or None: not given.

    ``node``, ``name``: patterns, in which ``*`` stands for any characters and ``?`` for one.
    ``prefix``: what lies in it, itself included.
    """

    node: str = ""
    name: str = ""
    prefix: Prefix | None = None

    def __bool__(self) -> bool:
        return self != Selection()

    def __str__(self) -> str:
        given = self._given()
        return " and ".join(f"{key} {value}" for key, value in given.items())

    @classmethod
    def of(
        cls,
        node: str | None = None,
        name: str | None = None,
        prefix: str | None = None,
        target: str | None = None,
    ) -> Selection:
        """The selection of these texts; *target*: a name, an address or a prefix.

        Raises:
          SelectionError: one is malformed or empty, or *target* repeats another one.
        """
        if target is not None:
            key = "prefix" if _LIKE_ADDRESS.fullmatch(target) else "name"
            if (prefix if key == "prefix" else name) is not None:
                raise SelectionError(f"{target!r} and --{key} cannot be given together")
            if key == "prefix":
                prefix = target
            else:
                name = target
        for key, pattern in (("node", node), ("name", name)):
            if pattern is not None and not 0 < len(pattern) <= MAX_PATTERN:
                raise SelectionError(f"{key}: must have 1 to {MAX_PATTERN} characters")
        return cls(node or "", name or "", None if prefix is None else _prefix(prefix))

    @property
    def query(self) -> str:
        """The query for a request's path, with its question mark; empty if nothing is given."""
        return f"?{urlencode(self._given())}" if self else ""

    def contains(self, prefix: Prefix) -> bool:
        """Whether *prefix* lies in the one that is given, if one is."""
        return self.prefix is None or self.prefix.contains(prefix)

    def matches(self, node: str, name: str) -> bool:
        """Whether these are the node and the printable name of a selected row."""
        node_pattern, name_pattern = self._patterns
        return bool(node_pattern.match(node) and name_pattern.match(name))

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        return _compile(self.node or "*"), _compile(self.name or "*")

    def _given(self) -> dict[str, str]:
        given = {"node": self.node, "name": self.name}
        if self.prefix is not None:
            given["prefix"] = str(self.prefix)
        return {key: value for key, value in given.items() if value}


def _compile(pattern: str) -> re.Pattern[str]:
    # brackets are no sets here: they occur in common names
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))


def _prefix(text: str) -> Prefix:
    try:
        return Prefix.parse(text)
    except ValueError as error:
        try:
            around = ipaddress.ip_network(text, strict=False)
        except ValueError:
            examples = "examples: 10.100.100.14, 10.100.100.0/28, fd00:100::/64"
            raise SelectionError(f"prefix: {error} ({examples})") from None
        raise SelectionError(f"prefix: {error}; the network is {around}") from None
