"""Whether systemd passes the daemon the files that its configuration names in /run/credentials.

They exist only while the unit runs. What its unit and drop-ins say is known before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cuberouted.check.facts import CREDENTIALS
from cuberouted.check.programs import run
from cuberouted.check.users import UNIT, Unit

DIRECTORY = CREDENTIALS / UNIT

_SETTING = re.compile(
    r"^[ \t]*(Load|Set|Import)Credential(?:Encrypted)?[ \t]*=[ \t]*([^:\s]*):?(.*)$", re.MULTILINE
)


def why_not_passed(unit: Unit, path: Path) -> tuple[str, str] | None:
    """Why systemd would not make *path* for the daemon, and what to do. None: it would, or that is
    not known.
    """
    text = run("systemctl", "cat", UNIT) if path.parent == DIRECTORY else None
    passed = None if text is None else parse(text)
    if passed is None:
        return None
    if unit.needs_reload:  # `systemctl cat` shows no drop-in either that systemd has not read
        return f"systemd has not read the changed files of {UNIT}", "`systemctl daemon-reload`"
    if path.name not in passed:
        what = f"systemd does not make it: {UNIT} has no LoadCredential={path.name}"
        return what, "add the drop-in (systemd/drop-ins has it), then `systemctl daemon-reload`"
    source = Path(passed[path.name])
    if source.is_absolute() and _is_missing(source):
        what = f"{source} does not exist, and systemd does not start {UNIT} without it"
        return what, f"make {source}, or remove LoadCredential={path.name}"
    return None


def parse(text: str) -> Mapping[str, str] | None:
    """The credentials in the output of `systemctl cat`, by id: the file, or what else comes behind
    the colon. None if there may be others.
    """
    passed: dict[str, str] = {}
    for how, name, source in _SETTING.findall(text):
        if how == "Import":
            return None
        if name:
            passed[name] = source.strip() if how == "Load" else ""
        else:  # an empty setting takes back those before it
            passed.clear()
    return passed


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # this user may not know
        return False
    return False
