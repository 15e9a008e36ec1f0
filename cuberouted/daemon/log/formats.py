"""Where log lines go, and what they look like: text, JSON, or the journal's fields."""

from __future__ import annotations

import datetime as dt
import logging
import os
import select
from typing import Protocol

import msgspec

from cuberouted import events
from cuberouted.daemon.log.journal import Journal, event_entry, priority, record_entry
from cuberouted.events import Event

STDERR = 2

CHUNK = 4096
"""Bytes. A pipe that is writable takes as many at once (PIPE_BUF of pipe(7))."""


class Sink(Protocol):
    """Writes log lines. Each method returns at once, and whether the line was written."""

    def write_event(self, event: Event) -> bool:
        """Write *event*."""

    def write_record(self, record: logging.LogRecord) -> bool:
        """Write a record of `logging`."""

    def close(self) -> None:
        """Write no more."""


class Stderr:
    """Writes to a file descriptor without waiting.

    The descriptor may be shared with other processes, so it is not made non-blocking; it is asked
    before each write.
    """

    def __init__(self, descriptor: int = STDERR) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._torn = False  # the last line has no end

    def write(self, data: bytes) -> bool:
        """Write the lines *data*, and return whether that was possible."""
        if self._torn:
            data = b"\n" + data
        for start in range(0, len(data), CHUNK):
            try:
                written = self._poll.poll(0) and os.write(
                    self._descriptor, data[start : start + CHUNK]
                )
            except OSError:  # the reader is gone, the disk is full
                written = 0
            if not written:
                self._torn = self._torn or start > 0
                return False
        self._torn = False
        return True


class TextSink:
    """Lines with time and level; in the journal, which has the time, with the priority."""

    def __init__(self, stderr: Stderr) -> None:
        self._stderr = stderr
        self._in_journal = bool(os.environ.get("JOURNAL_STREAM"))
        self._formatter = logging.Formatter()

    def write_event(self, event: Event) -> bool:
        """See `Sink`."""
        return self._write(event.level.upper(), event.time, str(event))

    def write_record(self, record: logging.LogRecord) -> bool:
        """See `Sink`."""
        return self._write(record.levelname, _time(record), self._formatter.format(record))

    def close(self) -> None:
        """See `Sink`."""

    def _write(self, level: str, time: dt.datetime, text: str) -> bool:
        if self._in_journal:  # sd-daemon(3); so in front of every line of a traceback
            mark = f"<{priority(level)}>"
            lines = "".join(f"{mark}{line}\n" for line in text.splitlines())
        else:
            local = time.astimezone()
            lines = f"{local:%Y-%m-%d %H:%M:%S},{local.microsecond // 1000:03d} {level} {text}\n"
        return self._stderr.write(lines.encode("utf-8", "backslashreplace"))


class JsonSink:
    """One object a line: of an event as in `monitor --json`, else ``time``, ``level``, ``text``."""

    def __init__(self, stderr: Stderr) -> None:
        self._stderr = stderr
        self._formatter = logging.Formatter()

    def write_event(self, event: Event) -> bool:
        """See `Sink`."""
        return self._stderr.write(events.encode(event))

    def write_record(self, record: logging.LogRecord) -> bool:
        """See `Sink`."""
        text = self._formatter.format(record).encode("utf-8", "backslashreplace").decode()
        line = {"time": _time(record), "level": record.levelname.lower(), "text": text}
        return self._stderr.write(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """See `Sink`."""


class JournalSink:
    """Entries of systemd's journal with the fields of the event."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._formatter = logging.Formatter()

    def write_event(self, event: Event) -> bool:
        """See `Sink`."""
        return self._journal.send(event_entry(event))

    def write_record(self, record: logging.LogRecord) -> bool:
        """See `Sink`."""
        return self._journal.send(record_entry(record, self._formatter.format(record)))

    def close(self) -> None:
        """See `Sink`."""
        self._journal.close()


def _time(record: logging.LogRecord) -> dt.datetime:
    return dt.datetime.fromtimestamp(record.created, dt.UTC)
