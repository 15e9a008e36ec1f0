"""systemd's journal by its native protocol: an event's fields can be searched for there.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/, systemd.journal-fields(7).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

import msgspec

from cuberouted.daemon.log.storm import type_of
from cuberouted.events import Event

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")

IDENTIFIER = "cuberouted"

PRIORITIES = MappingProxyType({"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2})
"""syslog(3)'s numbers for the levels of `logging`; those of events have the same names."""

_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_NOT_CONNECTED = (errno.ECONNREFUSED, errno.ENOTCONN)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_NO_FIELDS = frozenset({"number", "time", "node", "text"})
"""What is in the entry anyway, or under another name."""
_WHERE = ("to_node", "at_node", "from_node", "of_node")


def priority(level: str) -> int:
    """The priority of a level by its name; of an unknown one that of INFO."""
    return PRIORITIES.get(level.upper(), PRIORITIES["INFO"])


def event_entry(event: Event) -> bytes:
    """The entry of *event*.

    Its fields are those of the event in capitals. NODE: where the client or the service is now, or
    was last, or the node that has another state; of other events the node whose daemon saw it,
    which is CUBEROUTED_NODE in all.
    """
    values = {
        name: value
        for name, value in msgspec.structs.asdict(event).items()
        if name not in _NO_FIELDS and value not in ("", None, ())
    }
    here = next((values[key] for key in _WHERE if key in values), event.node)
    fields = [
        ("MESSAGE", str(event)),
        ("PRIORITY", str(priority(event.level))),
        ("SYSLOG_IDENTIFIER", IDENTIFIER),
        ("CUBEROUTED_EVENT", type_of(event)),
        ("CUBEROUTED_NUMBER", str(event.number)),
        ("CUBEROUTED_NODE", event.node),
        ("NODE", str(here)),
    ]
    for name, value in values.items():
        several = value if isinstance(value, tuple) else (value,)
        fields += [(name.upper(), str(item)) for item in several]
    return encode(fields)


def record_entry(record: logging.LogRecord, text: str) -> bytes:
    """The entry of a record of `logging`, of which *text* is the message with its traceback."""
    return encode(
        [
            ("MESSAGE", text),
            ("PRIORITY", str(priority(record.levelname))),
            ("SYSLOG_IDENTIFIER", IDENTIFIER),
            ("LOGGER", record.name),
        ]
    )


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """The datagram with *fields*. The names are made by us: capitals, digits and ``_``."""
    data = bytearray()
    for name, text in fields:
        value = text.encode("utf-8", "backslashreplace")
        if b"\n" in value:
            data += name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
        else:
            data += name.encode() + b"=" + value + b"\n"
    return bytes(data)


class Journal:
    """Sends entries to journald. Never waits.

    Raises:
      OSError: nobody receives at *path*.
    """

    def __init__(self, path: Path = JOURNAL_SOCKET) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        try:
            self._socket.connect(self._path)  # to see whether it is there
        except OSError:
            self._socket.close()
            raise

    def send(self, entry: bytes) -> bool:
        """Send *entry*, and return whether that was possible: not if journald is too slow."""
        try:
            self._socket.send(entry)
        except OSError as error:
            if error.errno in _TOO_LARGE:
                return self._send_in_file(entry)
            return error.errno in _NOT_CONNECTED and self._send_again(entry)
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send_again(self, entry: bytes) -> bool:
        try:  # another socket is there since journald has been restarted without its socket unit
            self._socket.connect(self._path)
            self._socket.send(entry)
        except OSError:
            return False
        return True

    def _send_in_file(self, entry: bytes) -> bool:
        try:
            file = os.memfd_create(IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError:
            return False
        try:
            os.write(file, entry)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            socket.send_fds(self._socket, [b""], [file])
        except OSError:
            return False
        finally:
            os.close(file)
        return True
