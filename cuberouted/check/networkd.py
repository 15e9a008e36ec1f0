"""Whether systemd-networkd runs here, and removes other programs' routes: networkd.conf(5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cuberouted.check.programs import is_running, run
from cuberouted.routing.types import Link

DIRECTORIES = tuple(
    map(Path, ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"))
)
"""Where networkd.conf and networkd.conf.d are; a file in an earlier one hides its namesakes."""

COMMAND = "systemd-network"
"""The name of its process in /proc, which has at most 15 bytes."""

_KEYS = {
    "ManageForeignRoutes": 246,
    "ManageForeignRoutingPolicyRules": 249,
    "ManageForeignNextHops": 256,
}
"""Keys that have to be "no", and the first version that knows them."""

LINKS = Path("/run/systemd/netif/links")
"""Where networkd writes the state of each link, in a file named by its index."""

_NO = frozenset({"0", "no", "n", "false", "f", "off"})
_YES = frozenset({"1", "yes", "y", "true", "t", "on"})


def running_version(proc: Path = Path("/proc")) -> int | None:
    """Its version, or None if it does not run."""
    return _version() if is_running(COMMAND, proc) else None


def missing_keys(version: int, directories: Sequence[Path] = DIRECTORIES) -> tuple[str, ...]:
    """The keys that the configuration of this version lacks."""
    settings = network_settings(directories)
    return tuple(
        key for key, since in _KEYS.items() if since <= version and settings.get(key, True)
    )


def unprotected_links(
    links: Iterable[Link], version: int | None, states: Path = LINKS
) -> frozenset[str]:
    """The links that it manages, if its version has no setting that keeps nexthop objects.

    *version*: None if it does not run.
    """
    if version is None or version >= _KEYS["ManageForeignNextHops"]:
        return frozenset()
    return frozenset(link.name for link in links if _is_managed(states / str(link.index)))


def _is_managed(state: Path) -> bool:
    try:
        text = state.read_text(errors="replace")
    except OSError:
        return False
    found = re.search(r"^ADMIN_STATE=(.*)", text, re.MULTILINE)
    return found is not None and found[1] != "unmanaged"


def _version() -> int:
    """The version of systemd; if it does not tell, one that knows all keys."""
    found = re.match(r"systemd (\d+)", run("networkctl", "--version") or "")
    return int(found[1]) if found else max(_KEYS.values())


def network_settings(directories: Sequence[Path]) -> Mapping[str, bool]:
    """The switches in the section [Network]. A later file overrides an earlier one."""
    settings: dict[str, bool] = {}
    for file in _files(directories):
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        settings.update(_switches(text))
    return settings


def _files(directories: Sequence[Path]) -> Iterator[Path]:
    main = (directory / "networkd.conf" for directory in directories)
    yield from list(filter(Path.exists, main))[:1]
    named: dict[str, Path] = {}
    for directory in reversed(directories):
        named.update((file.name, file) for file in (directory / "networkd.conf.d").glob("*.conf"))
    yield from (named[name] for name in sorted(named))


def _switches(text: str) -> Iterator[tuple[str, bool]]:
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        key, equals, value = (part.strip() for part in line.partition("="))
        if section != "[Network]" or not equals or line.startswith(("#", ";")):
            continue
        if value.lower() in _NO | _YES:  # networkd ignores everything else
            yield key, value.lower() in _YES
