"""The file in which the state of maintenance is kept over a restart."""

from __future__ import annotations

import contextlib
import os
import threading
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from cuberouted.maintenance.record import MaintenanceRecord, RecordError, decode, encode
from cuberouted.model import NodeState
from cuberouted.util.tasks import run_in_thread

FILE = "maintenance.json"
"""Its name in the state directory. It does not exist in a node that is active."""

MAX_SIZE = 65536
"""Bytes that are read of it."""

WRITE_TIMEOUT = 5.0
"""Seconds after which writing has failed: a disk may hang."""


class RecordStore(Protocol):
    """Implemented by `RecordFile`; tests have another one."""

    def read(self, directory: Path) -> MaintenanceRecord:
        """The record that was kept, or that of an active node.

        Raises:
          RecordError: it cannot be read.
        """

    async def write(self, directory: Path, record: MaintenanceRecord) -> None:
        """Keep *record*.

        Raises:
          RecordError: that is impossible.
        """


class RecordFile:
    """Implements `RecordStore` by a file."""

    def __init__(self) -> None:
        self._number = 0
        self._lock = threading.Lock()

    def read(self, directory: Path) -> MaintenanceRecord:
        """See `RecordStore`."""
        path = directory / FILE
        try:
            with path.open("rb") as file:
                text = file.read(MAX_SIZE)
        except FileNotFoundError:
            return MaintenanceRecord()
        except OSError as error:
            raise RecordError(f"{path}: {error.strerror or error}") from None
        try:
            return decode(text)
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from None

    async def write(self, directory: Path, record: MaintenanceRecord) -> None:
        """See `RecordStore`."""
        path = directory / FILE
        self._number += 1
        write = partial(self._write, path, record, self._number)
        try:
            with trio.fail_after(WRITE_TIMEOUT):
                await run_in_thread(write)
        except trio.TooSlowError:
            raise RecordError(f"{path}: not written in {WRITE_TIMEOUT:g} s") from None
        except OSError as error:
            why = f"{path}: {error.strerror or error}"
            if isinstance(error, FileNotFoundError):
                why += "; the directory is missing, which the unit's StateDirectory= makes"
            raise RecordError(why) from None

    def _write(self, path: Path, record: MaintenanceRecord, number: int) -> None:
        """One after the other, in threads. One that was given up, and goes on after the disk has
        hung, must not undo a later one.
        """
        with self._lock:
            if number == self._number:
                _keep(path, record)


def _keep(path: Path, record: MaintenanceRecord) -> None:
    """Replace the file as a whole, on the disk. That of an active node is removed: so a file that
    cannot be read later is never one of an active node.
    """
    if record.state is NodeState.ACTIVE:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    else:
        _replace(path, encode(record))
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _replace(path: Path, text: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o644), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
