"""Reads OpenVPN's own configuration: the options of a file or of a command line. Pure.

Source: OpenVPN ``src/openvpn/options_parse.c`` (2.7; ``options.c`` before): ``parse_line``,
``read_config_file``, ``check_inline_file``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

MAX_DEPTH = 10
"""Files that include each other, as OpenVPN allows."""
MAX_FILE = 1024 * 1024
"""Bytes of all files together. One with all keys inside has some 20 kB."""

Read = Callable[[Path], bytes]
"""Returns the content of a file. Raises OSError."""

_SPACE = " \t\r\v\f"


class ConfigFileError(Exception):
    """OpenVPN could not read this configuration either, or it is too large."""


@attrs.frozen
class Option:
    """One option without its dashes, such as ``management 127.0.0.1 5656``.

    ``inline``: the content of its file, where it stands in the configuration itself.
    """

    name: str
    arguments: tuple[str, ...] = ()
    inline: bytes | None = None


@attrs.frozen
class OpenVPNOptions:
    """All options in their order. ``directory``: what relative paths in them refer to."""

    options: tuple[Option, ...]
    directory: Path

    def all(self, name: str) -> list[Option]:
        """The options called *name*."""
        return [option for option in self.options if option.name == name]

    def get(self, name: str) -> Option | None:
        """The option called *name* that counts where OpenVPN uses one: the last."""
        found = self.all(name)
        return found[-1] if found else None

    def path(self, option: Option) -> Path:
        """The file or directory that is the first argument of *option*."""
        return self.directory / (option.arguments[0] if option.arguments else "")


def read_config(path: Path, directory: Path, read: Read) -> OpenVPNOptions:
    """The options in the file *path*, of an OpenVPN that was started in *directory*.

    Raises:
      OSError: a file cannot be read.
      ConfigFileError: it is no configuration.
    """
    return _Reader(directory, read).result(("--config", str(path)))


def read_command_line(arguments: Sequence[str], directory: Path, read: Read) -> OpenVPNOptions:
    """The options in *arguments*, without the program's name. See `read_config`."""
    return _Reader(directory, read).result(arguments)


class _Reader:
    def __init__(self, directory: Path, read: Read) -> None:
        self._directory = directory
        self._read = read
        self._options: list[Option] = []
        self._size = 0

    def result(self, arguments: Sequence[str]) -> OpenVPNOptions:
        if len(arguments) == 1 and not arguments[0].startswith("--"):
            arguments = ("--config", arguments[0])  # `openvpn FILE`
        name, values = "", list[str]()
        for argument in (*arguments, "--"):
            if not argument.startswith("--"):
                values.append(argument)
                continue
            if name:
                self._add(Option(name, tuple(values)), 0)
            name, values = argument[2:], []
        return OpenVPNOptions(tuple(self._options), self._directory)

    def _add(self, option: Option, depth: int) -> None:
        self._options.append(option)
        if not option.arguments:
            return
        path = self._directory / option.arguments[0]
        if option.name == "cd":
            self._directory = path
        elif option.name == "config":
            self._add_file(path, depth + 1)

    def _add_file(self, path: Path, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ConfigFileError(f"{path}: more than {MAX_DEPTH} files include each other")
        data = self._read(path)
        self._size += len(data)
        if self._size > MAX_FILE:
            raise ConfigFileError(f"{path}: more than {MAX_FILE} bytes of configuration")
        for option in parse_file(data):
            self._add(option, depth)


def parse_file(data: bytes) -> Iterator[Option]:
    """The options in the content of a file. Files that it includes are not read."""
    lines = iter(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    for line in lines:
        name, *arguments = _words(line.decode("utf-8", "surrogateescape")) or [""]
        if not name:
            continue
        if not arguments and len(name) > 2 and name[0] == "<" and name[-1] == ">":
            yield Option(
                name[1:-1],
                inline=_inline(lines, f"</{name[1:-1]}>".encode("utf-8", "surrogateescape")),
            )
        else:
            yield Option(name.removeprefix("--"), tuple(arguments))


def _inline(lines: Iterator[bytes], end: bytes) -> bytes:
    content = []
    for line in lines:
        if line.lstrip().startswith(end):
            break
        content.append(line + b"\n")
    return b"".join(content)


def _words(line: str) -> list[str]:
    """The words of a line up to a comment: with quotes, and backslashes before any character."""
    words = list[str]()
    word: str | None = None
    quote, escaped = "", False
    for char in line:
        if word is None:
            if char in _SPACE:
                continue
            if char in "#;":
                break
            word = ""
        if escaped:
            word, escaped = word + char, False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "\"'":
            quote = char
        elif char in _SPACE:
            words.append(word)
            word = None
        else:
            word += char
    return words if word is None else [*words, word]
