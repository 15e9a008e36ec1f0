"""The files that `cuberouted setup` installs: where each belongs, and how it is recognized again.

Pure. The directories are those for software that the administrator installs: systemd.unit(5),
sysusers.d(5), file-hierarchy(7).
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

import attrs

LIB: Final = PurePosixPath("/usr/local/lib")
SHARE: Final = PurePosixPath("/usr/local/share")
UNITS: Final = LIB / "systemd/system"
UNIT: Final = UNITS / "cuberouted.service"
TEMPLATE: Final = UNITS / "cuberouted@.service"
SYSUSERS: Final = LIB / "sysusers.d/cuberouted.conf"
TMPFILES: Final = LIB / "tmpfiles.d/cuberouted.conf"
CONFIG: Final = PurePosixPath("/etc/cuberouted.conf")

PROGRAM_OF_UNITS: Final = "/usr/bin/cuberouted"
"""In the units as they are in the source."""

SYSTEMD: Final[Mapping[str, PurePosixPath]] = MappingProxyType(
    {
        "cuberouted.service": UNIT,
        "cuberouted@.service": TEMPLATE,
        "openvpn-server@.service.d/cuberouted.conf": (
            UNITS / "openvpn-server@.service.d/cuberouted.conf"
        ),
        "cuberouted.sysusers": SYSUSERS,
        "cuberouted.tmpfiles": TMPFILES,
    }
)
"""Files of the directory systemd/, and where they belong."""

COMPLETIONS: Final[Mapping[str, PurePosixPath]] = MappingProxyType(
    {
        "bash": SHARE / "bash-completion/completions/cuberouted",
        "zsh": SHARE / "zsh/site-functions/_cuberouted",
        "fish": SHARE / "fish/vendor_completions.d/cuberouted.fish",
    }
)

IN_THE_WAY: Final = (
    (PurePosixPath("/etc/systemd/system/cuberouted.service"), "a unit that goes before ours"),
    (PurePosixPath("/etc/systemd/system/cuberouted@.service"), "a unit that goes before ours"),
    (PurePosixPath("/usr/lib/systemd/system/cuberouted.service"), "the unit of a package"),
)
"""Units of the same name elsewhere, and what they are."""

_MARK = "# written by `cuberouted setup`; sha256 of the lines above: "
"""Begins the last line of each file: zsh needs its own mark in the first one."""


class Found(enum.Enum):
    """What is in the place of a file."""

    MISSING = "nothing"
    SAME = "the same file"
    OLDER = "what setup has written before"
    CHANGED = "what setup has written, changed since then"
    FOREIGN = "a file that setup has not written"


@attrs.frozen
class File:
    """A file to be installed, without its mark."""

    path: PurePosixPath
    text: str

    @property
    def marked(self) -> str:
        """The text as it is installed."""
        return f"{self.text}{_MARK}{_digest(self.text)}\n"

    def compare(self, found: str | None) -> Found:
        """What *found* is, the text in its place; None: there is none."""
        if found is None:
            return Found.MISSING
        if found == self.marked:
            return Found.SAME
        return origin(found)


def origin(found: str) -> Found:
    """Whether a file is OLDER, CHANGED or FOREIGN."""
    text, mark, digest = found.rpartition(_MARK)
    if not mark:
        return Found.FOREIGN
    return Found.OLDER if digest == f"{_digest(text)}\n" else Found.CHANGED


def files(
    program: str, source: Callable[[str], str], completion: Callable[[str], str]
) -> list[File]:
    """Everything to be installed.

    *program*: its path, for the units. *source* returns the text of a file of systemd/,
    *completion* the script of a shell.
    """
    return [
        *(
            File(path, _with_program(source(name), program) if path.parent == UNITS else text)
            for name, path in SYSTEMD.items()
            for text in (source(name),)
        ),
        *(File(path, completion(shell)) for shell, path in COMPLETIONS.items()),
    ]


def directories(paths: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    """The directories of *paths* below LIB and SHARE, the innermost first."""
    found = {
        parent
        for path in paths
        for parent in path.parents
        if LIB in parent.parents or SHARE in parent.parents
    }
    return sorted(found, key=lambda path: (-len(path.parts), str(path)))


def _with_program(unit: str, program: str) -> str:
    return re.sub(
        rf"^(Exec\w+=){re.escape(PROGRAM_OF_UNITS)}(?= )",
        rf"\g<1>{program}",
        unit,
        flags=re.MULTILINE,
    )


def _digest(text: str) -> str:
    # as `Host.read` has decoded it: a file that somebody changed need not be UTF-8
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
