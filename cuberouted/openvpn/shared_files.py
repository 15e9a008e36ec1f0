"""Reads the files that the OpenVPN servers of a mesh have to share, and takes their fingerprints.

Blocks: run it in a thread. What it reads is limited; of what this user may not read, the reason is
told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from cuberouted.config import OpenVPNConfig
from cuberouted.model import MAX_DIGESTS, FileKind
from cuberouted.openvpn.config_file import OpenVPNOptions, Option
from cuberouted.openvpn.config_search import SearchError, find_options, read_file
from cuberouted.openvpn.fingerprints import OwnFingerprint

MAX_FILE = 4 * 1024 * 1024
"""Bytes of one file. A CRL with 50,000 certificates has 2 MB."""
MAX_BYTES = 32 * 1024 * 1024
"""Bytes of all files of this node."""

_TLS_KEYS = ("tls-crypt-v2", "tls-crypt", "tls-auth")


class _TooMuchError(Exception):
    """A limit is exceeded. str() says which."""


@attrs.define
class _Budget:
    """What may still be read."""

    files: int = MAX_DIGESTS
    size: int = MAX_BYTES

    def read(self, path: Path) -> bytes:
        content = _read(path)
        if len(content) > MAX_FILE:
            raise _TooMuchError(f"{path}: more than {MAX_FILE} bytes")
        self.take(1, len(content))
        return content

    def take(self, files: int, size: int) -> None:
        self.files, self.size = self.files - files, self.size - size
        if self.files < 0 or self.size < 0:
            raise _TooMuchError(f"more than {MAX_DIGESTS} files or {MAX_BYTES} bytes to compare")


def take_fingerprints(configs: Iterable[OpenVPNConfig], nonce: bytes) -> list[OwnFingerprint]:
    """The fingerprints of all OpenVPN processes of this host."""
    budget = _Budget()
    return [item for config in configs for item in _of_process(config, nonce, budget)]


def _of_process(config: OpenVPNConfig, nonce: bytes, budget: _Budget) -> Iterator[OwnFingerprint]:
    try:
        options = find_options(config)
    except SearchError as error:
        for kind in FileKind:
            yield OwnFingerprint.unknown(kind, config.name, str(error))
        return
    for kind in FileKind:
        try:
            files = dict(_files(kind, options, budget))
        except OSError as error:
            why = f"{error.filename}: {error.strerror}"
            yield OwnFingerprint.unknown(kind, config.name, why)
        except _TooMuchError as error:
            yield OwnFingerprint.unknown(kind, config.name, str(error))
        else:
            yield OwnFingerprint.of(kind, config.name, nonce, files.items())


def _files(
    kind: FileKind, options: OpenVPNOptions, budget: _Budget
) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each file."""
    option = _option(kind, options)
    if option is None:
        return
    name = option.name.encode()
    if option.inline is not None:
        yield name, option.inline
    elif kind is FileKind.CCD:
        yield from _directory(options.path(option), budget)
    elif option.arguments[1:] == ("dir",):  # crl-verify DIRECTORY dir: names are serial numbers
        for entry in os.scandir(os.fsencode(options.path(option))):
            budget.take(1, 0)
            yield entry.name, b""
    else:
        yield name, budget.read(options.path(option))


def _option(kind: FileKind, options: OpenVPNOptions) -> Option | None:
    if kind is FileKind.TLS_KEY:
        found = (options.get(name) for name in _TLS_KEYS)
        return next((option for option in found if option is not None), None)
    return options.get(_OPTIONS[kind])


_OPTIONS: Mapping[FileKind, str] = {
    FileKind.CCD: "client-config-dir",
    FileKind.CRL: "crl-verify",
    FileKind.TOKEN_SECRET: "auth-gen-token-secret",
}


def _directory(path: Path, budget: _Budget) -> Iterator[tuple[bytes, bytes]]:
    """The files in a client-config-dir, but for those whose names begin with a dot.

    OpenVPN would read one for a client of that name; but it is an editor's that is left behind.
    """
    with os.scandir(os.fsencode(path)) as entries:
        for entry in entries:
            if not entry.name.startswith(b".") and entry.is_file():
                yield entry.name, budget.read(Path(os.fsdecode(entry.path)))


def _read(path: Path) -> bytes:
    try:
        return read_file(path, MAX_FILE)
    except PermissionError:
        # systemd may pass a copy: systemd/drop-ins/openvpn-keys.conf
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if credentials is None:
            raise
        try:
            return read_file(Path(credentials, path.name), MAX_FILE)
        except FileNotFoundError:
            raise PermissionError(13, os.strerror(13), str(path)) from None
