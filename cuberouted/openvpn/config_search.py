"""Finds the configuration of the OpenVPN process that cuberouted follows, by its management
interface or status file.

Blocks: run it in a thread. What the user cuberouted may not see is not found: with the unit's
ProtectProc=invisible no process, so that the files in /etc/openvpn have to do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

import attrs

from cuberouted.config import OpenVPNConfig
from cuberouted.openvpn.config_file import (
    MAX_FILE,
    ConfigFileError,
    OpenVPNOptions,
    read_command_line,
)

MAX_FILES = 100
"""Files in each directory that are looked at."""


class SearchError(Exception):
    """No configuration was found. str() says why."""


def find_options(
    config: OpenVPNConfig, proc: Path = Path("/proc"), etc: Path = Path("/etc/openvpn")
) -> OpenVPNOptions:
    """The options of the OpenVPN process behind *config*.

    Raises:
      SearchError: none is found.
    """
    unreadable = ""
    for candidate in chain(_processes(proc), _files(etc)):
        try:
            options = candidate.read()
        except OSError as error:
            unreadable = unreadable or f"; {error.filename}: {error.strerror}"
        except ConfigFileError:
            continue
        else:
            if is_behind(config, options):
                return options
    raise SearchError(
        f"no OpenVPN configuration with {_described(config)} was found in {etc} or among the"
        f" processes that this user may see{unreadable}"
    )


def is_behind(config: OpenVPNConfig, options: OpenVPNOptions) -> bool:
    """Whether *options* are those of the process that *config* names."""
    if config.status_file is not None:
        status = options.get("status")
        return status is not None and options.path(status) == config.status_file
    if config.mgmt_shared:  # another program's interface, which OpenVPN does not know
        device = options.get("dev")
        return device is not None and device.arguments[:1] == (config.data_interface,)
    management = options.get("management")
    if management is None or len(management.arguments) < 2:
        return False
    port = management.arguments[1]
    if config.mgmt_socket is not None:
        return port == "unix" and options.path(management) == config.mgmt_socket
    return port == str(config.mgmt_port)


def read_file(path: Path, limit: int = MAX_FILE) -> bytes:
    """At most *limit* bytes and one more of a regular file.

    Raises:
      OSError: it cannot be read, or is no regular file.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "not a regular file", str(path))
        return file.read(limit + 1)


@attrs.frozen
class _Candidate:
    arguments: tuple[str, ...]
    directory: Path

    def read(self) -> OpenVPNOptions:
        if not self.arguments:
            raise ConfigFileError("no arguments")
        return read_command_line(self.arguments, self.directory, read_file)


def _processes(proc: Path) -> Iterator[_Candidate]:
    """The OpenVPN processes in our network namespace."""
    with suppress(OSError):
        ours = (proc / "self/ns/net").readlink()
        for process in proc.iterdir():
            if process.name.isdigit():
                with suppress(OSError):  # it has ended, or is another user's
                    if (process / "comm").read_bytes() != b"openvpn\n":
                        continue
                    if (process / "ns/net").readlink() == ours:
                        command = (process / "cmdline").read_bytes().split(b"\0")[1:-1]
                        words = tuple(map(os.fsdecode, command))
                        yield _Candidate(words, (process / "cwd").readlink())


def _files(etc: Path) -> Iterator[_Candidate]:
    for directory in (etc / "server", etc):
        with suppress(OSError):
            for path in sorted(islice(directory.glob("*.conf"), MAX_FILES)):
                yield _Candidate(("--config", str(path)), directory)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would block


def _described(config: OpenVPNConfig) -> str:
    if config.status_file is not None:
        return f"status {config.status_file}"
    if config.mgmt_socket is not None:
        return f"management {config.mgmt_socket} unix"
    return f"management port {config.mgmt_port}"
