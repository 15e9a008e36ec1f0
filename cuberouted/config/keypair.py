"""Our key pair for CURVE: made, kept in a file, read from it.

A key is 32 bytes, written in Z85 (https://rfc.zeromq.org/spec/32/) as ZeroMQ takes them.
The file holds the secret one and nothing else; the public one follows from it.
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


class KeyFileError(Exception):
    """A key file that cannot be used or made; the text says why and what to do."""


def generate() -> tuple[bytes, bytes]:
    """A new key pair: the public and the secret one."""
    while True:
        public, secret = zmq.curve_keypair()
        if not public.startswith(b"#"):  # a configuration would take it for a comment
            return public, secret


def public_of(secret: bytes) -> bytes:
    """The public key that goes with *secret*."""
    return zmq.curve_public(secret)


def write_secret(path: Path, secret: bytes) -> None:
    """Keep *secret* in a new file that only its owner can read.

    Raises:
      KeyFileError: the file is there already, or cannot be made.
    """
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} is there already: it is not overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be made: {error.strerror}") from None
    with os.fdopen(file, "wb") as opened:
        opened.write(secret + b"\n")


def read_secret(path: Path) -> bytes:
    """The secret key in the file *path*.

    Raises:
      KeyFileError: it cannot be read, others can read it, or it is no key.
    """
    try:
        # without O_NONBLOCK a FIFO would keep us waiting for ever
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as opened:
            _check_private(path, file)
            secret = opened.read(MAX_KEY_FILE).strip()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    if not is_curve_key(secret):
        raise KeyFileError(f"{path}: is no secret key: `cuberouted keygen` makes one")
    return secret


def with_secret_key(config: Config) -> Config:
    """*config* with the secret key that it names, if it names one.

    Raises:
      ConfigError: the key cannot be used.
    """
    if config.secret_key_file is None:
        return config
    try:
        secret = read_secret(config.secret_key_file)
    except KeyFileError as error:
        raise _refused(config, str(error)) from None
    public = public_of(secret)
    for peer in config.peers:
        if public in peer.public_keys:
            raise _refused(config, f"our own public key stands with peer {peer.label}")
    return attrs.evolve(config, secret_key=secret)


def _refused(config: Config, what: str) -> ConfigError:
    return ConfigError((ConfigProblem(config.path, None, "secret_key_file", what),))


def _check_private(path: Path, file: int) -> None:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: is no regular file")
    mode = stat.S_IMODE(status.st_mode)
    # where there is an ACL these bits are its mask: systemd gives the user its credentials so
    others = 0o007 if _has_acl(file) else 0o077
    if mode & others:
        raise KeyFileError(
            f"{path}: others than its owner can use it (mode {mode:04o}): chmod 600, and if they"
            " may have read it, make another key"
        )


def _has_acl(file: int) -> bool:
    try:
        return bool(os.getxattr(file, "system.posix_acl_access"))
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP}:
            return False
        raise
