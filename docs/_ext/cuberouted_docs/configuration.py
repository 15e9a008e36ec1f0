"""The reference of the configuration as Markdown, from conf/cuberouted.conf.reference. Pure.

The file is read as it is laid out. A line ``# -- TITLE ---`` begins a part, and what follows it up
to an empty line introduces the part. Each further block, up to an empty line, is a comment and
the keys that it is about. What the schema knows is added: whether a value is the default, and
whether a change of the key needs a restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from cuberouted.config.build import KERNEL_TABLES
from cuberouted.config.schema import SECTIONS, SHORTHANDS, Reload, key_fields
from cuberouted_docs.text import CODE, escape, markdown, paragraphs

TITLE = re.compile(r"# -- (?P<title>.*?) -{2,}")
HEADER = re.compile(r"#?\[(?P<kind>[a-z]+) \S+\]")
KEY = re.compile(r"#?(?P<key>[a-z_]+) = (?P<value>.+)")

_KEYS = {key for section in SECTIONS.values() for key in key_fields(section)} | SHORTHANDS.keys()
_NAMES = "|".join(sorted((key for key in _KEYS if "_" in key), key=len, reverse=True))

NAMES = re.compile(rf"(?<![\w/.-])(?:{_NAMES})(?!\w)|\[(?:peer|openvpn|service) NAME\]")
"""Names of keys that are no words, and headers of sections."""


@attrs.frozen
class Entry:
    """Keys with their values as the file shows them, and the comment on them."""

    kind: str
    keys: tuple[tuple[str, str], ...]
    text: str


@attrs.frozen
class Part:
    """A part of the file: its title, introduction and entries."""

    title: str
    text: str
    entries: tuple[Entry, ...]


def read(text: str) -> tuple[str, list[Part]]:
    """The introduction of a reference file, and its parts."""
    introduction, *rest = _blocks(text)
    parts: list[Part] = []
    kind = ""
    for block in rest:
        comment = "\n".join(line[2:] for line in block if _is_comment(line))
        if title := TITLE.fullmatch(block[0]):
            parts.append(Part(title["title"], comment.partition("\n")[2].strip(), ()))
        keys = tuple((m["key"], m["value"]) for line in block if (m := KEY.fullmatch(line)))
        kind = next((m["kind"] for line in block if (m := HEADER.fullmatch(line))), kind)
        if keys:
            entry = Entry(kind, keys, comment)
            parts[-1] = attrs.evolve(parts[-1], entries=(*parts[-1].entries, entry))
    comment = "\n".join(line[2:] for line in introduction if _is_comment(line))
    return "\n\n".join(paragraphs(comment)[2:]), parts  # not the title, and what the file is


def introduction(text: str) -> str:
    """What the reference file says before its first part, as Markdown."""
    return "\n\n".join(prose(part) for part in paragraphs(read(text)[0])) + "\n"


def reference(text: str) -> str:
    """All keys of the reference file, part by part, as Markdown."""
    blocks: list[str] = []
    for part in read(text)[1]:
        blocks.append(f"## {escape(part.title)}")
        blocks += [prose(paragraph) for paragraph in paragraphs(part.text)]
        blocks += [_definition(entry) for entry in part.entries]
    return "\n\n".join(blocks) + "\n"


def overview() -> str:
    """Tables of all keys with their meanings, one for each kind of section."""
    blocks = ["## Overview"]
    for kind, section in SECTIONS.items():
        blocks.append(f"In each section `[{kind} NAME]`:" if kind else "Before the first section:")
        rows = ["| key | meaning |", "|---|---|"]
        for key, field in key_fields(section).items():
            link = f'<a href="#{anchor_of(kind, key)}"><code>{key}</code></a>'
            rows.append(f"| {link} | {prose(field.metadata['meaning'])} |")
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks) + "\n"


def prose(text: str) -> str:
    """A paragraph of plain *text* as Markdown, with the names of keys and sections as code."""
    parts = CODE.split(text)
    parts[::2] = [NAMES.sub(r"`\g<0>`", part) for part in parts[::2]]
    return markdown("".join(parts))


def anchor_of(kind: str, key: str) -> str:
    """The anchor of a key: its name, in a section with the section's before it."""
    return f"{kind}-{key}" if kind else key


def _definition(entry: Entry) -> str:
    names = ", ".join(
        f'<span id="{anchor_of(entry.kind, key)}"></span>`{key}`' for key, _ in entry.keys
    )
    text = re.sub(r"\s*Example:$", "", entry.text.strip())
    first, *more = [prose(part) for part in paragraphs(text)]
    return "\n\n  ".join([f"{names}\n: {first}", *more, *_facts(entry)])


def _facts(entry: Entry) -> Iterator[str]:
    lines: dict[str, list[str]] = {"Default": [], "Example": []}
    for key, value in entry.keys:
        word = "Default" if is_default(entry.kind, key, value) else "Example"
        lines[word].append(f"{key} = {value}")
    for word, shown in lines.items():
        if len(shown) > 1:
            yield "\n  ".join([f"{word}s:\n", "```", *shown, "```"])
        elif shown:
            yield f"{word}: `{shown[0]}`"
    if any(_field(entry.kind, key).metadata["reload"] is Reload.RESTART for key, _ in entry.keys):
        yield "A change needs a restart of the daemon."


def is_default(kind: str, key: str, value: str) -> bool:
    """Whether *value* is what the key has where the file does not set it."""
    field = _field(kind, key)
    return bool((KERNEL_TABLES.get(value) or field.metadata["convert"](value)) == field.default)


def _field(kind: str, key: str) -> attrs.Attribute[object]:
    section, name = SHORTHANDS.get(key, (kind, key)) if not kind else (kind, key)
    return key_fields(SECTIONS[section])[name]


def _is_comment(line: str) -> bool:
    return line.startswith("# ") or line == "#"


def _blocks(text: str) -> Iterator[list[str]]:
    for block in re.split(r"\n\n+", text.strip()):
        yield block.splitlines()
