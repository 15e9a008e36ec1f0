"""Reads the configuration file and the host's names; the other modules open no files."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Final

from cuberouted.config.build import KERNEL_TABLES, parse
from cuberouted.config.schema import Config
from cuberouted.config.text import ConfigError, ConfigProblem

MAX_SIZE: Final = 256 * 1024
"""Bytes. A configuration with a thousand peers has 100 KiB."""

NO_SETTING: Final = (
    "has no setting, as after an installation: set data_interface, mgmt_interface and"
    " remote_mgmt_ip at least, or [peer NAME] sections; `man cuberouted.conf` explains all keys"
)
"""Of a file in which all lines are comments or empty: it has nothing wrong to point at."""

_TABLES: Final = (
    Path("/usr/share/iproute2/rt_tables"),
    Path("/etc/iproute2/rt_tables"),
    Path("/etc/iproute2/rt_tables.d"),
)
_TABLE: Final = re.compile(r"\s*(\d{1,10}|0x[0-9a-fA-F]{1,8})\s+(\S+)", re.ASCII)


def load(path: Path) -> Config:
    """Read and parse the configuration file *path*.

    Raises:
      ConfigError: it cannot be read, or has mistakes; with all of them.
    """
    text = _read(path)
    if not any(line.partition("#")[0].strip() for line in text.splitlines()):
        raise ConfigError((ConfigProblem(path, None, None, NO_SETTING),))
    return parse(text, path, socket.gethostname(), named_tables(_TABLES))


def named_tables(paths: tuple[Path, ...]) -> dict[str, int]:
    """Names of routing tables in iproute2's files; a directory stands for its ``*.conf`` files.

    Files that cannot be read are ignored. The local and the unspecified table are left out, as
    they cannot be used.
    """
    tables = dict(KERNEL_TABLES)
    for path in paths:
        try:
            files = sorted(path.glob("*.conf")) if path.is_dir() else [path]
            lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
        except (OSError, UnicodeDecodeError):
            continue
        entries = filter(None, map(_TABLE.match, lines))
        tables.update((entry[2], int(entry[1], 0)) for entry in entries)
    return {name: number for name, number in tables.items() if number not in (0, 255)}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise ConfigError((ConfigProblem(path, None, None, what),)) from None
    if len(data) > MAX_SIZE:
        what = f"is larger than {MAX_SIZE // 1024} KiB: this is not a configuration file"
        raise ConfigError((ConfigProblem(path, None, None, what),))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise ConfigError((ConfigProblem(path, line, None, what),)) from None
