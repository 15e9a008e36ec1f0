"""This node's CURVE key pair: generating it, writing and reading the file of the secret key.

Keys are 32 bytes, here always in Z85 (https://rfc.zeromq.org/spec/32/), as ZeroMQ's options take
them. The file contains only the secret key; the public key is computed from it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import attrs
import zmq

from cuberouted.config import Config, ConfigError, ConfigProblem
from cuberouted.config.converters import is_curve_key

MAX_KEY_FILE = 1024
"""Bytes that are read of a key file."""


class KeyFileError(Exception):
    """A key file cannot be read, used or created; the text says why and what to do."""


def generate() -> tuple[bytes, bytes]:
    """Generate a key pair: (public key, secret key)."""
    while True:
        public, secret = zmq.curve_keypair()
        if not public.startswith(b"#"):  # in the configuration # begins a comment
            return public, secret


def public_of(secret: bytes) -> bytes:
    """The public key of *secret*."""
    return zmq.curve_public(secret)


def write_secret(path: Path, secret: bytes) -> None:
    """Write *secret* to a new file that only its owner can read.

    Raises:
      KeyFileError: the file exists, or cannot be written. Nothing is left of it then.
    """
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} already exists and is not overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be created: {error.strerror}") from None
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(secret + b"\n")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def read_secret(path: Path) -> bytes:
    """Read the secret key in the file *path*.

    Raises:
      KeyFileError: it cannot be read, other users can access it, or it contains no key.
    """
    try:
        # O_NONBLOCK: opening a FIFO without a writer would block
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as opened:
            _check_private(path, file)
            secret = opened.read(MAX_KEY_FILE).strip()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    if not is_curve_key(secret):
        raise KeyFileError(f"{path}: is not a secret key: create one with `cuberouted keygen`")
    return secret


def with_secret_key(config: Config) -> Config:
    """*config* with the secret key read from its ``secret_key_file``, if that is set.

    Raises:
      ConfigError: the file cannot be used, or a peer is configured with our public key.
    """
    if config.secret_key_file is None:
        return config
    try:
        secret = read_secret(config.secret_key_file)
    except KeyFileError as error:
        raise _key_error(config, str(error)) from None
    public = public_of(secret)
    for peer in config.peers:
        if public in peer.public_keys:
            raise _key_error(
                config, f"peer {peer.label} is configured with this node's own public key"
            )
    return attrs.evolve(config, secret_key=secret)


def _key_error(config: Config, what: str) -> ConfigError:
    return ConfigError((ConfigProblem(config.path, None, "secret_key_file", what),))


def _check_private(path: Path, file: int) -> None:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    # With an ACL the group bits are its mask, and say nothing about the group: systemd makes
    # credentials readable for the service's user by an ACL.
    others = 0o007 if _has_acl(file) else 0o077
    if mode & others:
        raise KeyFileError(
            f"{path}: other users can access it (mode {mode:04o}): chmod 600, and create another"
            " key if they may have read this one"
        )


def _has_acl(file: int) -> bool:
    try:
        return bool(os.getxattr(file, "system.posix_acl_access"))
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP}:
            return False
        raise
