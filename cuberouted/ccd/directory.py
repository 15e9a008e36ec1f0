"""Reads and writes the files of a client-config-dir. Blocks.

Everything is done relative to the open directory and follows no symbolic link in it. A file is
replaced as a whole: OpenVPN, which reads it when the client connects, finds the old content or the
new one.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cuberouted.ccd.plan import Change

MAX_FILE = 65_536
"""Bytes of one file that are read."""

MAX_FILES = 100_000
"""Files. A subnet of so many clients would be a /15."""

MODE = 0o644
"""Of a new file: OpenVPN reads it as another user. Who gets there, the directory decides."""

TEMPORARY = ".cuberouted-ccd.tmp"
"""The name of a file that is not complete yet."""


class DirectoryError(Exception):
    """The directory cannot be used. str() says why."""


class Directory:
    """An open client-config-dir. See `open_directory`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def lock(self) -> None:
        """Keep other runs of the command out until the directory is closed.

        Raises:
          DirectoryError: another one is in it.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryError(f"{self._path}: another `cuberouted ccd` is at work") from None

    def read(self) -> dict[str, bytes | str]:
        """By name the content of each file that OpenVPN may look for, or why it has none.

        Raises:
          DirectoryError: it cannot be read.
        """
        try:
            with os.scandir(self._descriptor) as entries:
                names = [entry.name for entry in entries]
            if len(names) > MAX_FILES:
                raise DirectoryError(f"{self._path}: more than {MAX_FILES} files")
        except OSError as error:
            raise DirectoryError(f"{self._path}: {error.strerror}") from None
        found = ((name, self._now(name)) for name in names if not name.startswith("."))
        return {name: content for name, content in found if content is not None}

    def apply(self, change: Change) -> None:
        """Make *change*.

        Raises:
          DirectoryError: the file has changed since it was read.
          OSError: it cannot be written.
        """
        name = change.name
        if self._now(name) != change.before:
            raise DirectoryError(f"{self._path / name}: has changed meanwhile: run it again")
        if change.after is None:
            os.unlink(name, dir_fd=self._descriptor)
        else:
            self._write(name, change.after)

    def sync(self) -> None:
        """Wait until all changes of names are on the disk."""
        os.fsync(self._descriptor)

    def _now(self, name: str) -> bytes | str | None:
        try:
            return self._content(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _content(self, name: str) -> bytes | str:
        how = stat.S_IFMT(os.lstat(name, dir_fd=self._descriptor).st_mode)
        if how != stat.S_IFREG:
            return _KINDS.get(how, "is no regular file")
        # it may have become another since: neither followed nor waited for
        descriptor = self._open(name, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "is no regular file"
            content = file.read(MAX_FILE + 1)
        return content if len(content) <= MAX_FILE else f"has more than {MAX_FILE} bytes"

    def _write(self, name: str, content: bytes) -> None:
        with suppress(FileNotFoundError):  # of a run that was killed
            os.unlink(TEMPORARY, dir_fd=self._descriptor)
        try:
            descriptor = self._open(TEMPORARY, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(descriptor, "wb") as file:
                self._set_owner_and_mode(name, descriptor)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.rename(TEMPORARY, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(TEMPORARY, dir_fd=self._descriptor)
            raise

    def _set_owner_and_mode(self, name: str, descriptor: int) -> None:
        """Those of the file that is replaced."""
        mode = MODE
        with suppress(FileNotFoundError):
            old = os.lstat(name, dir_fd=self._descriptor)
            new = os.fstat(descriptor)
            if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                os.fchown(descriptor, old.st_uid, old.st_gid)
            mode = stat.S_IMODE(old.st_mode)
        os.fchmod(descriptor, mode)  # whatever the umask is

    def _open(self, name: str, flags: int) -> int:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self._descriptor)


@contextmanager
def open_directory(path: Path) -> Iterator[Directory]:
    """The directory *path*, open until the end of the block.

    Raises:
      DirectoryError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DirectoryError(f"{path}: {error.strerror}") from None
    try:
        yield Directory(path, descriptor)
    finally:
        os.close(descriptor)


_KINDS = {stat.S_IFLNK: "is a symbolic link", stat.S_IFDIR: "is a directory"}
