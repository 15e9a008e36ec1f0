"""Where this program is, and whether the unit can execute it there."""

from __future__ import annotations

import re
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import cuberouted

HIDDEN = {
    "/home": "ProtectHome=",
    "/root": "ProtectHome=",
    "/run/user": "ProtectHome=",
    "/tmp": "PrivateTmp=",  # noqa: S108 - nothing is written there
    "/var/tmp": "PrivateTmp=",  # noqa: S108
}
"""Directories that the daemon does not see, and the setting of the unit that hides them."""

SHARED = {
    "cuberouted.conf": "debian/cuberouted.conf",
    "cuberouted.conf.reference": "conf/cuberouted.conf.reference",
}
"""Where files of the wheel's share/ are in a checkout."""

PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")
"""A path that needs no quoting in a unit."""

ELSEWHERE = """\
Install it where every user can execute it, for example by one of these, in a copy of its source:

    umask 022
    /usr/bin/python3 -m venv /opt/cuberouted && /opt/cuberouted/bin/pip install .
or, with the same umask,
    PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install .

and run `cuberouted setup` of that one."""


class ProgramError(Exception):
    """The unit could not execute this program. str() says why, and what to do."""


def share(name: str) -> Path:
    """A file that comes with the program, of `SHARED` or of systemd/."""
    package = Path(cuberouted.__file__).parent
    installed = package / "share" / name
    return installed if installed.exists() else package.parent / SHARED.get(name, name)


def program() -> Path:
    """The path of the program `cuberouted` of this Python.

    Raises:
      ProgramError: there is none, or the user cuberouted could not execute it in the unit.
    """
    path = Path(sysconfig.get_path("scripts")) / "cuberouted"
    if not path.exists():
        raise ProgramError(
            f"{path} does not exist: this program was not installed by pip or pipx.\n{ELSEWHERE}"
        )
    check_reach(path, (path, Path(sys.executable), Path(sys.prefix), Path(cuberouted.__file__)))
    return path


def check_reach(path: Path, needed: Iterable[Path]) -> None:
    """Check that the unit can execute *path*, which needs files and directories *needed*.

    Raises:
      ProgramError: it cannot.
    """
    if not PLAIN.fullmatch(str(path)):
        raise ProgramError(f"{path} has characters that a unit cannot have.\n{ELSEWHERE}")
    for part in needed:
        for place in (part, part.resolve()):
            _check_visible(place)
            _check_rights(place)


def _check_visible(path: Path) -> None:
    for directory, setting in HIDDEN.items():
        if path.is_relative_to(directory):
            raise ProgramError(
                f"{path} is below {directory}, which the unit hides from the daemon"
                f" ({setting}).\n{ELSEWHERE}"
            )


def _check_rights(path: Path) -> None:
    for place in _upwards(path):
        mode = place.stat().st_mode
        needed = 0o1 if stat.S_ISDIR(mode) and place != path else 0o4
        if not mode & needed:
            raise ProgramError(
                f"{place}: the user cuberouted has no access to it: it was made under a umask such"
                f" as 077.\n{ELSEWHERE}"
            )


def _upwards(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents
